//! Picking from lines that are alike. A program writes the keys of its lines in one order, so that the same bytes stand
//! between two values in every line: `, "status": `. They are remembered with what they mean. Where they stand again one
//! comparison does what else takes a search for the key's end and a look for it among the wanted ones.
//!
//! What is remembered was read once by the general way, in the same place: between two values of the outermost object.
//! It is white space, a bracket or comma, a key, its colon, and perhaps the quote that opens the value. Such bytes mean
//! the same whatever follows, and values are always read, wanted or not. So every line gets the answer of
//! [`Picker::pick`], whatever has been learned before.

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
        let mut steps = &self.order.steps[..];
        let mut at = START;
        loop {
            let number = match follow(steps, at, cursor.rest()) {
                Some((step, number, rest)) => {
                    cursor.go(rest);
                    at = number;
                    match step.value {
                        Expected::Quoted => {
                            let (raw, escaped) = cursor.quoted::<STRICT>()?;
                            if let Some(slot) = out.get_mut(step.slot) {
                                *slot = Field::Text { raw, escaped };
                            }
                            continue;
                        }
                        Expected::Bare if let Some(raw) = cursor.decimal() => {
                            if let Some(slot) = out.get_mut(step.slot) {
                                *slot = Field::Number(raw);
                            }
                            continue;
                        }
                        Expected::Bare | Expected::Any => step.key,
                    }
                }
                None if at != START && cursor.rest() == b"}" => return Ok(()),
                None => {
                    let (rest, found) = self.surprise::<STRICT>(cursor, line, at, out)?;
                    cursor.go(rest);
                    let Some((key, place)) = found else { return cursor.finish::<STRICT>() };
                    (steps, at) = (&self.order.steps, place);
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
        at: usize,
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
type Surprise<'a> = (&'a [u8], Option<(Key, usize)>);

/// What stands between values, and what comes after what.
struct Order {
    /// The first stands for the beginning of a line.
    steps: Vec<Step>,
}

struct Step {
    /// The text and zeros.
    text: [u8; TEXT_BYTES_MAX],
    len: usize,
    /// Which bits of the first bytes belong to the text.
    mask: [u64; HEAD_BYTES / 8],
    /// The key that the text ends with.
    key: Key,
    value: Expected,
    /// Where a quoted or bare value goes; [`NOWHERE`] if nobody wants it.
    slot: usize,
    /// The steps that came after this one, the last two of them; [`NOWHERE`] if there were none.
    next: [usize; 2],
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
}

/// The step that stands for the beginning of a line.
const START: usize = 0;
/// No step and no slot has this number.
const NOWHERE: usize = usize::MAX;
/// With so many steps all are forgotten, and learning begins anew.
const STEPS_MAX: usize = 64;
/// Longer texts are not learned.
const TEXT_BYTES_MAX: usize = 64;
/// Bytes that are compared at once; few texts are longer.
const HEAD_BYTES: usize = 32;
/// Surprises that are learned from at once; after that one for each line. So lines that are never alike cost little more
/// than without a memory.
const PATIENCE_MAX: usize = 64;

impl Order {
    fn new() -> Self {
        let mut steps = Vec::with_capacity(STEPS_MAX);
        steps.extend(Step::new(b"", None, Expected::Any, NOWHERE));
        Self { steps }
    }

    /// Makes what stands in `text` before `rest`, where a value begins, the step behind that at `at`; answers with its
    /// place, or [`NOWHERE`] if it cannot be learned.
    #[inline(never)]
    fn learn(&mut self, at: usize, text: &[u8], rest: &[u8], key: Key, wanted: &Level) -> usize {
        let slot = key.map_or(Some(NOWHERE), |key| wanted.only_slot(key));
        let value = match rest.first() {
            _ if slot.is_none() => Expected::Any,
            Some(b'"') => Expected::Quoted,
            _ => Expected::Bare,
        };
        let text = &text[..text.len() - rest.len() + usize::from(value == Expected::Quoted)];
        let known = self.steps.iter().position(|step| step.len == text.len() && step.text[..step.len] == *text);
        let number = known.unwrap_or_else(|| {
            let Some(step) = Step::new(text, key, value, slot.unwrap_or(NOWHERE)) else { return NOWHERE };
            if self.steps.len() == STEPS_MAX {
                *self = Self::new();
            }
            self.steps.push(step);
            self.steps.len() - 1
        });
        if let Some(step) = self.steps.get_mut(at) {
            step.next = [number, step.next[0]];
        }
        number
    }
}

/// The step behind the one at `at` with whose text `rest` begins, its place, and what follows the text.
#[inline(always)]
fn follow<'s, 'a>(steps: &'s [Step], at: usize, rest: &'a [u8]) -> Option<(&'s Step, usize, &'a [u8])> {
    let next = steps.get(at)?.next[0];
    let step = steps.get(next)?;
    if step.opens(rest) { Some((step, next, rest.get(step.len..)?)) } else { follow_other(steps, at, rest) }
}

/// Out of line, so that the usual way is guessed and not waited for.
#[cold]
#[inline(never)]
fn follow_other<'s, 'a>(steps: &'s [Step], at: usize, rest: &'a [u8]) -> Option<(&'s Step, usize, &'a [u8])> {
    let next = steps.get(at)?.next[1];
    let step = steps.get(next)?;
    if step.opens(rest) { Some((step, next, rest.get(step.len..)?)) } else { None }
}

impl Step {
    /// `None` if the text is too long.
    fn new(text: &[u8], key: Key, value: Expected, slot: usize) -> Option<Self> {
        let (mut padded, mut mask) = ([0; TEXT_BYTES_MAX], [0; TEXT_BYTES_MAX]);
        padded.get_mut(..text.len())?.copy_from_slice(text);
        mask[..text.len()].fill(u8::MAX);
        Some(Self { text: padded, len: text.len(), mask: head(&mask), key, value, slot, next: [NOWHERE; 2] })
    }

    /// Whether `rest` begins with the text.
    #[inline(always)]
    fn opens(&self, rest: &[u8]) -> bool {
        match rest.first_chunk::<HEAD_BYTES>() {
            Some(chunk) if self.len <= HEAD_BYTES => {
                let (found, expected) = (head(chunk), head(&self.text));
                let differ = |at: usize| (found[at] ^ expected[at]) & self.mask[at];
                differ(0) | differ(1) | differ(2) | differ(3) == 0
            }
            _ => rest.starts_with(&self.text[..self.len]),
        }
    }
}

/// The first bytes as words, which compilers turn into vectors.
#[inline(always)]
fn head(bytes: &[u8]) -> [u64; HEAD_BYTES / 8] {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|at| u64::from_le_bytes(words[at]))
}

#[cfg(test)]
#[path = "learned_tests.rs"]
mod tests;
