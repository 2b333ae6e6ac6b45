//! Picking from lines that are alike. A program writes the keys of its lines in one order, so that the same bytes stand
//! between two values in every line: `, "status": `. They are remembered with what they mean. Where they stand again one
//! comparison does what else takes a search for the key's end and a look for it among the wanted ones.
//!
//! What is remembered was read once by the general way, in the same place: between two values of the outermost object.
//! It is white space, a bracket or comma, a key, its colon, and perhaps the quote that opens the value. Such bytes mean
//! the same whatever follows, and values are always read, wanted or not. So every line gets the answer of
//! [`Picker::pick`], whatever has been learned before.

use super::block::{BLOCK_BYTES, same};
use super::picker::Level;
use super::scan::Cursor;
use super::{Field, Malformed, Mode, Picker};

/// A [`Picker`] with a memory of what lines look like. It pays where most lines are of a few kinds.
pub struct LearningPicker {
    picker: Picker,
    mode: Mode,
    order: Order,
    /// How many surprises are still worth learning from.
    patience: usize,
}

impl LearningPicker {
    /// As [`Picker::new`].
    pub fn new(paths: &[Vec<String>], mode: Mode) -> Self {
        Self { picker: Picker::new(paths), mode, order: Order::new(), patience: PATIENCE_MAX }
    }

    /// As [`Picker::pick`], with the same answer. Allocates nothing.
    ///
    /// # Panics
    /// If `out` has fewer slots than there are paths.
    pub fn pick<'a>(&mut self, line: &'a [u8], out: &mut [Field<'a>]) -> Result<(), Malformed> {
        let out = &mut out[..self.picker.len()];
        out.fill(Field::Missing);
        let picked = match self.mode {
            Mode::Strict => self.pick_checked::<true>(line, out),
            Mode::Lenient => self.pick_checked::<false>(line, out),
        };
        if picked.is_err() {
            out.fill(Field::Missing);
        }
        picked
    }

    fn pick_checked<'a, const STRICT: bool>(&mut self, line: &'a [u8], out: &mut [Field<'a>]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new::<STRICT>(line);
        self.patience = PATIENCE_MAX.min(self.patience + 1);
        let mut order = &self.order;
        let (mut at, mut before) = (START, order.at(START));
        loop {
            let text = cursor.rest();
            let mut place = before.next[0];
            let mut step = order.at(place);
            if !step.opens(text) {
                place = order.other(before, text);
                step = order.at(place);
            }
            let number = match text.get(step.len as usize..) {
                Some(rest) if step.value != Expected::Nothing => {
                    cursor.go(rest);
                    (at, before) = (place, step);
                    match step.value {
                        Expected::Quoted => {
                            let (raw, escaped) = cursor.quoted::<STRICT>()?;
                            if let Some(slot) = out.get_mut(step.slot as usize) {
                                *slot = Field::Text { raw, escaped };
                            }
                            continue;
                        }
                        Expected::Bare if let Some(raw) = cursor.decimal() => {
                            if let Some(slot) = out.get_mut(step.slot as usize) {
                                *slot = Field::Number(raw);
                            }
                            continue;
                        }
                        _ => step.key,
                    }
                }
                _ if at != START && text == b"}" => return Ok(()),
                _ => {
                    let (rest, found) = self.surprise::<STRICT>(cursor, line, at, out)?;
                    cursor.go(rest);
                    let Some((key, place)) = found else { return cursor.finish::<STRICT>() };
                    (order, at) = (&self.order, place);
                    before = order.at(place);
                    key
                }
            };
            self.picker.outermost().value::<STRICT>(number, &mut cursor, 1, out)?;
        }
    }

    /// Reads what stands between two values, before the first or behind the last, and is none of the steps that were seen
    /// behind the one at `at`. Answers with what follows, and with a key and its step, or with nothing behind the whole
    /// object.
    #[inline(never)]
    fn surprise<'a, const STRICT: bool>(
        &mut self,
        mut cursor: Cursor<'a>,
        line: &[u8],
        at: Place,
        out: &mut [Field<'a>],
    ) -> Result<Surprise<'a>, Malformed> {
        let text = cursor.rest();
        let first = text.len() == line.len();
        let last = match cursor.peek() {
            b'n' if first && STRICT => {
                cursor.literal(b"null")?;
                return Ok((cursor.rest(), None));
            }
            b'{' if first => {
                cursor.pass();
                cursor.peek() == b'}'
            }
            b',' | b'}' if !first => cursor.peek() == b'}',
            _ => return Err(Malformed),
        };
        if last {
            cursor.pass();
            return Ok((cursor.rest(), None));
        }
        if !first {
            cursor.pass();
        }
        let wanted = self.picker.outermost();
        if self.patience == 0 {
            return Ok((wanted.members::<STRICT>(cursor, false, 1, out)?, None));
        }
        self.patience -= 1;
        let key = cursor.key::<STRICT>(false)?;
        let key = wanted.find(key);
        cursor.peek();
        let place = self.order.learn(at, text, cursor.rest(), key, wanted);
        Ok((cursor.rest(), Some((key, place))))
    }
}

/// The number of a key among the wanted ones.
type Key = Option<usize>;

/// What follows, and a key with the place of its step unless the object has ended.
type Surprise<'a> = (&'a [u8], Option<(Key, Place)>);

/// What stands between values, and what comes after what.
struct Order {
    /// By place. The first stands for the beginning of a line, the second for what could not be learned.
    steps: Box<[Step; STEPS_MAX]>,
    len: usize,
}

/// Where a step stands.
type Place = usize;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Step {
    /// The text and zeros.
    text: [u8; TEXT_BYTES_MAX],
    len: u32,
    /// A bit for each of the first bytes that belongs to the text.
    head: u32,
    /// The key that the text ends with.
    key: Key,
    /// Where a quoted or bare value goes; [`NO_SLOT`] if nobody wants it.
    slot: u32,
    value: Expected,
    /// The steps that came after this one, the last two of them; [`NOWHERE`] if there were none.
    next: [Place; 2],
}

/// What kind of value stands behind a text.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    /// A string, for one slot at most. Its quote belongs to the text.
    Quoted,
    /// No string, for one slot at most.
    Bare,
    /// One that goes to several slots, or which may be an object with more wanted keys.
    Any,
    /// None: the step stands for no text.
    Nothing,
}

/// The step that stands for the beginning of a line.
const START: Place = 0;
/// The step behind those that nothing came after.
const NOWHERE: Place = 1;
const NO_SLOT: u32 = u32::MAX;
/// With so many steps all are forgotten, and learning begins anew.
const STEPS_MAX: usize = 64;
/// Longer texts are not learned.
const TEXT_BYTES_MAX: usize = 64;
/// Bytes that are compared at once; few texts are longer.
const HEAD_BYTES: usize = 2 * BLOCK_BYTES;
/// Surprises that are learned from at once; after that one for each line. So lines that are never alike cost little more
/// than without a memory.
const PATIENCE_MAX: usize = 64;

impl Order {
    fn new() -> Self {
        let nothing = Step {
            text: [0; TEXT_BYTES_MAX],
            len: 0,
            head: 0,
            key: None,
            slot: NO_SLOT,
            value: Expected::Nothing,
            next: [NOWHERE; 2],
        };
        Self { steps: Box::new([nothing; STEPS_MAX]), len: NOWHERE + 1 }
    }

    /// No place is beyond the last one; so said, that costs nothing.
    #[inline(always)]
    fn at(&self, place: Place) -> &Step {
        &self.steps[place % STEPS_MAX]
    }

    /// Makes what stands in `text` before `rest`, where a value begins, the step behind that at `at`; answers with its
    /// place, or [`NOWHERE`] if it cannot be learned.
    #[inline(never)]
    fn learn(&mut self, at: Place, text: &[u8], rest: &[u8], key: Key, wanted: &Level) -> Place {
        let slot = key.map_or(Some(NO_SLOT), |key| wanted.only_slot(key).and_then(|slot| u32::try_from(slot).ok()));
        let value = match rest.first() {
            _ if slot.is_none() => Expected::Any,
            Some(b'"') => Expected::Quoted,
            _ => Expected::Bare,
        };
        let text = &text[..text.len() - rest.len() + usize::from(value == Expected::Quoted)];
        let known = self.steps[..self.len].iter().position(|step| step.text() == text);
        let place = known.unwrap_or_else(|| {
            let Some(step) = Step::new(text, key, value, slot.unwrap_or(NO_SLOT)) else { return NOWHERE };
            if self.len == STEPS_MAX {
                *self = Self::new();
            }
            self.steps[self.len] = step;
            self.len += 1;
            self.len - 1
        });
        if at != NOWHERE {
            let step = &mut self.steps[at % STEPS_MAX];
            step.next = [place, step.next[0]];
        }
        place
    }

    /// The second of the steps that came behind another, if `rest` begins with its text, or [`NOWHERE`]. Out of
    /// line, so that the usual way is guessed and not waited for.
    #[cold]
    #[inline(never)]
    fn other(&self, before: &Step, rest: &[u8]) -> Place {
        let place = before.next[1];
        if self.at(place).opens(rest) { place } else { NOWHERE }
    }
}

impl Step {
    /// `None` if the text is too long.
    fn new(text: &[u8], key: Key, value: Expected, slot: u32) -> Option<Self> {
        let mut padded = [0; TEXT_BYTES_MAX];
        padded.get_mut(..text.len())?.copy_from_slice(text);
        let head = if text.len() < HEAD_BYTES { (1 << text.len()) - 1 } else { u32::MAX };
        Some(Self { text: padded, len: text.len() as u32, head, key, slot, value, next: [NOWHERE; 2] })
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.len as usize]
    }

    /// Whether `rest` begins with the text.
    #[inline(always)]
    fn opens(&self, rest: &[u8]) -> bool {
        let ([first, second, ..], _) = self.text.as_chunks::<BLOCK_BYTES>() else { return false };
        match rest.as_chunks::<BLOCK_BYTES>().0 {
            [one, other, ..] => {
                let same = same(one, first) | same(other, second) << BLOCK_BYTES;
                same & self.head == self.head && (self.len as usize <= HEAD_BYTES || rest.starts_with(self.text()))
            }
            _ => rest.starts_with(self.text()),
        }
    }
}

#[cfg(test)]
#[path = "learned_tests.rs"]
mod tests;
