//! Picking from lines that are alike. A program writes the keys of its lines in one order, so that the same bytes stand
//! between two values in every line: `", "status": `. They are remembered with what they mean. Where they stand again one
//! comparison does what else takes a search for the key's end and a look for it among the wanted ones.
//!
//! What is remembered was read once by the general way, in the same place: between two values of the outermost object.
//! It is perhaps the quote that closes a value, white space, a bracket or comma, a key, its colon, and perhaps the quote that
//! opens the next value. Such bytes mean the same whatever follows, and values are always read, wanted or not. So every line
//! gets the answer of [`Picker::pick`], whatever has been learned before.

use super::block::{Look, Looks, Task, Windows};
use super::found::{Found, Kind, PATHS_MAX};
use super::order::{Ahead, Key, NO_PATH, Order, Place, START};
use super::scan::{Cursor, has_control, string_len};
use super::{Malformed, Mode, Picker};

/// A [`Picker`] with a memory of what lines look like. It pays where most lines are of a few kinds.
pub struct LearningPicker {
    picker: Picker,
    mode: Mode,
    looks: Looks,
    order: Order,
    /// How many surprises are still worth learning from.
    patience: usize,
    found: Found,
}

/// Surprises that are learned from at once; after that one for each line. So lines that are never alike cost little more
/// than without a memory.
const PATIENCE_MAX: usize = 64;

impl LearningPicker {
    /// As [`Picker::new`].
    ///
    /// # Panics
    /// If there are more than [`PATHS_MAX`] paths.
    pub fn new(paths: &[Vec<String>], mode: Mode) -> Self {
        assert!(paths.len() <= PATHS_MAX, "more paths than one picker can have");
        Self {
            picker: Picker::new(paths),
            mode,
            looks: Looks::best(),
            order: Order::new(),
            patience: PATIENCE_MAX,
            found: Found::new(),
        }
    }

    /// As [`Picker::pick`], with the same answer. Allocates nothing.
    pub fn pick(&mut self, line: &[u8]) -> Result<&Found, Malformed> {
        match self.mode {
            Mode::Strict => self.looks.run(Pick::<true> { picker: self, line })?,
            Mode::Lenient => self.looks.run(Pick::<false> { picker: self, line })?,
        }
        Ok(&self.found)
    }

    /// What the last line gave.
    pub fn found(&self) -> &Found {
        &self.found
    }

    #[inline(always)]
    fn pick_checked<const STRICT: bool>(&mut self, line: &[u8], look: impl Look) -> Result<(), Malformed> {
        self.found.clear();
        let Some(windows) = Windows::over(line, look) else { return self.pick_generally::<STRICT>(line) };
        // A string is checked for them up to its first escape only.
        if STRICT && has_control(line.trim_ascii_end()) {
            return self.pick_generally::<STRICT>(line);
        }
        self.patience = PATIENCE_MAX.min(self.patience + 1);
        let mut before = self.order.at(START);
        // Behind the value of the step before, or at the quote that closes it.
        let mut at = 0;
        loop {
            let mut step = self.order.after(before);
            if !step.stands_at(&windows, at) {
                step = self.order.other(before, line, at);
            }
            let start = at + step.len;
            if step.is_quoted {
                at = windows.quote_or_backslash(start).ok_or(Malformed)?;
                self.found.put_plain(step.path, Kind::Text, start, at);
                before = step;
                continue;
            }
            match step.ahead {
                Ahead::Bare if let Some(end) = decimal_end::<STRICT>(&windows, start) => {
                    at = end;
                    self.found.put_plain(step.path, Kind::Number, start, at);
                    before = step;
                }
                Ahead::Quoted | Ahead::Bare | Ahead::Any => {
                    let place = step.place;
                    at = self.pick_value::<STRICT>(line, start, step.key)?;
                    before = self.order.at(place.into());
                }
                Ahead::End => return Cursor::clean(line.get(start..).unwrap_or_default()).finish::<STRICT>(),
                Ahead::Unknown => {
                    let place = before.place.into();
                    let Some((behind, place)) = self.surprise::<STRICT>(line, at, place)? else { return Ok(()) };
                    (at, before) = (behind, self.order.at(place));
                }
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn pick_generally<const STRICT: bool>(&mut self, line: &[u8]) -> Result<(), Malformed> {
        self.picker.pick_checked::<STRICT>(line, &mut self.found.of(line))
    }

    /// Reads the value that begins at `start`; answers with where it ends.
    #[inline(never)]
    fn pick_value<const STRICT: bool>(&mut self, line: &[u8], start: usize, key: Key) -> Result<usize, Malformed> {
        let mut cursor = Cursor::clean(line.get(start..).unwrap_or_default());
        self.picker.outermost().value::<STRICT>(key, &mut cursor, 1, &mut self.found.of(line))?;
        Ok(line.len() - cursor.rest().len())
    }

    /// Goes on where none of the steps stands that were seen behind the one at `before`: through the rest of a string with
    /// escapes, or to the next value and past it. Answers with where it ends and what came before it, or with nothing behind
    /// the whole object.
    #[cold]
    #[inline(never)]
    fn surprise<const STRICT: bool>(
        &mut self,
        line: &[u8],
        at: usize,
        before: Place,
    ) -> Result<Option<(usize, Place)>, Malformed> {
        let text = line.get(at..).unwrap_or_default();
        let mut cursor = Cursor::clean(text);
        if self.order.at(before).ahead == Ahead::Quoted {
            if text.first() == Some(&b'\\') {
                return self.pass_escapes::<STRICT>(text, at, before).map(Some);
            }
            cursor.pass();
        }
        let first = before == START;
        let last = match cursor.peek() {
            b'n' if first && STRICT => {
                cursor.literal(b"null")?;
                return cursor.finish::<STRICT>().map(|()| None);
            }
            b'{' if first => {
                cursor.pass();
                cursor.peek() == b'}'
            }
            b',' | b'}' if !first => cursor.peek() == b'}',
            _ => return Err(Malformed),
        };
        if last || !first {
            cursor.pass();
        }
        let may_learn = self.patience > 0;
        self.patience = self.patience.saturating_sub(1);
        if last {
            if may_learn {
                self.order.learn(before, cursor.since(text), None, NO_PATH, Ahead::End);
            }
            return cursor.finish::<STRICT>().map(|()| None);
        }
        let wanted = self.picker.outermost();
        if !may_learn {
            let rest = wanted.members::<STRICT>(cursor, false, 1, &mut self.found.of(line))?;
            return Cursor::clean(rest).finish::<STRICT>().map(|()| None);
        }
        let key = wanted.find(cursor.key::<STRICT>(false)?);
        let (ahead, path) = match key.map_or(Some(NO_PATH), |key| wanted.only_slot(key).map(|slot| slot as u8)) {
            None => (Ahead::Any, NO_PATH),
            Some(path) if cursor.peek() == b'"' => (Ahead::Quoted, path),
            Some(path) => (Ahead::Bare, path),
        };
        let start = line.len() - cursor.rest().len();
        if ahead == Ahead::Quoted {
            cursor.pass();
        }
        let place = self.order.learn(before, cursor.since(text), key, path, ahead);
        let end = self.pick_value::<STRICT>(line, start, key)?;
        // The quote that closes a string belongs to the next step.
        Ok(Some((end - usize::from(self.order.at(place).ahead == Ahead::Quoted), place)))
    }

    /// Passes the rest of the string behind the step at `place`, from a backslash at `at`, where `text` begins, to its end.
    fn pass_escapes<const STRICT: bool>(
        &mut self,
        text: &[u8],
        at: usize,
        place: Place,
    ) -> Result<(usize, Place), Malformed> {
        let (len, _) = string_len::<STRICT>(text, 0)?;
        let path = self.order.at(place).path;
        if path != NO_PATH {
            let start = self.found.span(path.into()).start;
            self.found.put(path.into(), Kind::Escaped, start, at + len);
        }
        Ok((at + len, place))
    }
}

/// Where a number ends that is as nearly all are: digits, perhaps with a point, up to a comma or bracket. Others are read the
/// general way.
#[inline(always)]
fn decimal_end<const STRICT: bool>(windows: &Windows<'_, impl Look>, start: usize) -> Option<usize> {
    let digits = windows.digits(start)?;
    let line = windows.text();
    let whole = digits.trailing_ones();
    let mut end = start + whole as usize;
    if line.get(end) == Some(&b'.') {
        let decimals = digits.checked_shr(whole + 1)?.trailing_ones();
        if decimals == 0 {
            return None;
        }
        end += 1 + decimals as usize;
    }
    let leading_zero = whole > 1 && line[start] == b'0';
    if whole == 0 || STRICT && leading_zero {
        return None;
    }
    // Behind digits up to the end of the window more may follow.
    matches!(line.get(end), Some(b',' | b'}')).then_some(end)
}

struct Pick<'p, 'l, const STRICT: bool> {
    picker: &'p mut LearningPicker,
    line: &'l [u8],
}

impl<const STRICT: bool> Task for Pick<'_, '_, STRICT> {
    type Answer = Result<(), Malformed>;

    #[inline(always)]
    fn run(self, look: impl Look) -> Self::Answer {
        self.picker.pick_checked::<STRICT>(self.line, look)
    }
}

#[cfg(test)]
#[path = "learned_tests.rs"]
mod tests;
