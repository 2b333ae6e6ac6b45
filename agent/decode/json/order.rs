//! What stands between the values of lines that are alike, and what comes after what.

use super::block::{Look, WINDOW_BYTES, Windows};

/// The number of a key among the wanted ones.
pub(super) type Key = Option<usize>;

/// Where a step stands in an [`Order`].
pub(super) type Place = usize;

/// Steps from value to value. The first stands for the beginning of a line, the second for what could not be learned.
pub(super) struct Order {
    steps: Box<[Step; STEPS_MAX]>,
    len: usize,
}

/// What stands in front of a value, or behind the last one.
///
/// Behind a [quoted](Ahead::Quoted) value a text begins with the quote that closes it, and with no quote behind any other. So
/// what is no end of the value before can't be taken for one.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Step {
    /// The text and zeros.
    text: [u8; TEXT_BYTES_MAX],
    pub(super) len: usize,
    /// A bit for each byte of a window that belongs to the text, and one that no window has if the text is longer.
    bytes: u64,
    /// The path that a quoted or bare value is for; [`NO_PATH`] if nobody wants it.
    pub(super) path: u8,
    pub(super) ahead: Ahead,
    /// Whether that is a string. Most values are.
    pub(super) is_quoted: bool,
    /// Where this step stands itself.
    pub(super) place: u8,
    /// The steps that came after this one, the last two of them; [`NOWHERE`] if there were none.
    next: [u8; 2],
    /// The key that the text ends with.
    pub(super) key: Key,
}

/// What stands behind a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ahead {
    /// A string, for one path at most. Its first quote belongs to the text.
    Quoted,
    /// No string, for one path at most.
    Bare,
    /// A value that goes to several paths, or which may be an object with more wanted keys.
    Any,
    /// Nothing more of the object.
    End,
    /// Nobody knows: the step stands for no text.
    Unknown,
}

/// The step that stands for the beginning of a line.
pub(super) const START: Place = 0;
/// The step behind those that nothing came after.
pub(super) const NOWHERE: Place = 1;
pub(super) const NO_PATH: u8 = u8::MAX;
/// With so many steps all are forgotten, and learning begins anew.
const STEPS_MAX: usize = 64;
/// Longer texts are not learned.
const TEXT_BYTES_MAX: usize = 64;

impl Order {
    pub(super) fn new() -> Self {
        let mut steps = Box::new([Step::new(b"", None, Ahead::Unknown, NO_PATH); STEPS_MAX]);
        (0..).zip(steps.iter_mut()).for_each(|(place, step)| step.place = place);
        Self { steps, len: NOWHERE + 1 }
    }

    /// No place is beyond the last one; so said, that costs nothing.
    #[inline(always)]
    pub(super) fn at(&self, place: Place) -> &Step {
        &self.steps[place % STEPS_MAX]
    }

    /// The step that came last behind another.
    #[inline(always)]
    pub(super) fn after(&self, before: &Step) -> &Step {
        self.at(before.next[0].into())
    }

    /// One of the steps that came behind another, of which the text stands at `at`; or the one that stands for no text. For
    /// the step that came before the last one, for long texts and near the end of a line. Out of line, so that the usual way
    /// is guessed and not waited for.
    #[cold]
    #[inline(never)]
    pub(super) fn other(&self, before: &Step, line: &[u8], at: usize) -> &Step {
        let rest = line.get(at..).unwrap_or_default();
        let mut steps = before.next.iter().map(|place| self.at((*place).into()));
        steps.find(|step| rest.starts_with(step.text())).unwrap_or(self.at(NOWHERE))
    }

    /// Makes a text the step behind that at `before`; answers with its place, or [`NOWHERE`] if it is too long.
    #[cold]
    pub(super) fn learn(&mut self, before: Place, text: &[u8], key: Key, path: u8, ahead: Ahead) -> Place {
        let known = self.steps[..self.len].iter().position(|step| step.text() == text && step.ahead == ahead);
        let (mut before, mut place) = (before, known);
        if place.is_none() && text.len() <= TEXT_BYTES_MAX {
            if self.len == STEPS_MAX {
                *self = Self::new();
                // The step before is forgotten too; what stands in its place will be another one.
                before = if before == START { START } else { NOWHERE };
            }
            self.steps[self.len] = Step { place: self.len as u8, ..Step::new(text, key, ahead, path) };
            place = Some(self.len);
            self.len += 1;
        }
        let place = place.unwrap_or(NOWHERE);
        if before != NOWHERE && place != NOWHERE {
            let step = &mut self.steps[before % STEPS_MAX];
            step.next = [place as u8, step.next[0]];
        }
        place
    }
}

impl Step {
    /// Of a text that is not too long.
    fn new(text: &[u8], key: Key, ahead: Ahead, path: u8) -> Self {
        let mut padded = [0; TEXT_BYTES_MAX];
        padded[..text.len()].copy_from_slice(text);
        let bytes = (1 << text.len().min(WINDOW_BYTES + 1)) - 1;
        Self {
            text: padded,
            len: text.len(),
            bytes,
            path,
            ahead,
            is_quoted: ahead == Ahead::Quoted,
            place: 0,
            next: [NOWHERE as u8; 2],
            key,
        }
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Whether its text stands in a line at this place. May say no to a long text, and near the end of the line; see
    /// [`Order::other`].
    #[inline(always)]
    pub(super) fn stands_at<L: Look>(&self, windows: &Windows<'_, L>, at: usize) -> bool {
        let head = self.text.first_chunk::<WINDOW_BYTES>();
        head.and_then(|head| windows.same(at, head)).is_some_and(|same| self.bytes & !u64::from(same) == 0)
    }
}
