//! Picking wanted fields out of an object.

use std::collections::BTreeMap;

use super::keys::Keys;
use super::scan::{Cursor, Quoted};
use super::{Field, Malformed, Mode};

/// A set of paths, compiled, to look up in any number of lines.
pub struct Picker {
    outermost: Level,
    len: usize,
}

/// Takes what the paths lead to.
pub(super) trait Slots<'a> {
    /// Puts a value into the slot of this number, in place of an earlier one.
    fn put(&mut self, slot: usize, value: Field<'a>);
}

impl<'a> Slots<'a> for &mut [Field<'a>] {
    fn put(&mut self, slot: usize, value: Field<'a>) {
        self[slot] = value;
    }
}

/// The wanted keys of one object.
pub(super) struct Level {
    keys: Keys,
    /// By number of the key.
    wanted: Vec<Wanted>,
    /// The slots of all paths that go through this object.
    slots: Vec<usize>,
}

struct Wanted {
    /// The slots of the paths that end here.
    slots: Vec<usize>,
    /// What is wanted of the object below, where longer paths go on.
    below: Option<Level>,
}

impl Picker {
    /// A path is a list of keys from the outermost object inwards. The same path may stand there twice. An empty path
    /// never finds anything. Nesting of objects costs stack only as deep as the longest path.
    pub fn new(paths: &[Vec<String>]) -> Self {
        let paths: Vec<(usize, &[String])> = paths.iter().map(Vec::as_slice).enumerate().collect();
        Self { outermost: Level::new(&paths), len: paths.len() }
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn outermost(&self) -> &Level {
        &self.outermost
    }

    /// Puts what each path leads to into the slot of its number. Of a key that stands there twice the last one counts.
    /// All slots are [`Field::Missing`] if the line is malformed, and the whole line is checked, wanted or not.
    /// Allocates nothing.
    ///
    /// # Panics
    /// If `out` has fewer slots than there are paths.
    pub fn pick<'a>(&self, line: &'a [u8], mode: Mode, out: &mut [Field<'a>]) -> Result<(), Malformed> {
        let mut out = &mut out[..self.len];
        out.fill(Field::Missing);
        let picked = match mode {
            Mode::Strict => self.pick_checked::<true>(line, &mut out),
            Mode::Lenient => self.pick_checked::<false>(line, &mut out),
        };
        if picked.is_err() {
            out.fill(Field::Missing);
        }
        picked
    }

    /// As [`pick`](Self::pick), but something may be left in the slots of a malformed line.
    pub(super) fn pick_checked<'a, const STRICT: bool>(
        &self,
        line: &'a [u8],
        out: &mut impl Slots<'a>,
    ) -> Result<(), Malformed> {
        let mut cursor = Cursor::new::<STRICT>(line);
        match cursor.peek() {
            b'{' => cursor.go(self.outermost.pick::<STRICT>(cursor, 1, out)?),
            b'n' if STRICT => cursor.literal(b"null")?,
            _ => return Err(Malformed),
        }
        cursor.finish::<STRICT>()
    }
}

impl Level {
    fn new(paths: &[(usize, &[String])]) -> Self {
        let mut by_key: BTreeMap<&str, Vec<(usize, &[String])>> = BTreeMap::new();
        for (slot, path) in paths {
            if let Some((key, rest)) = path.split_first() {
                by_key.entry(key).or_default().push((*slot, rest));
            }
        }
        Self {
            keys: Keys::new(by_key.keys().map(|key| key.as_bytes().into())),
            wanted: by_key.values().map(|paths| Wanted::new(paths)).collect(),
            slots: paths.iter().map(|(slot, _)| *slot).collect(),
        }
    }

    /// `cursor` stands at the opening bracket; with it `depth` objects stand open. Answers with what follows it.
    fn pick<'a, const STRICT: bool>(
        &self,
        cursor: Cursor<'a>,
        depth: usize,
        out: &mut impl Slots<'a>,
    ) -> Result<&'a [u8], Malformed> {
        let mut cursor = cursor;
        cursor.pass();
        if cursor.peek() == b'}' {
            cursor.pass();
            return Ok(cursor.rest());
        }
        // json-iterator reads the outermost object by another function, whose first key may be a bare null too.
        self.members::<STRICT>(cursor, depth > 1, depth, out)
    }

    /// As [`pick`](Self::pick) from where a key begins, the `first` of an object or a later one.
    pub(super) fn members<'a, const STRICT: bool>(
        &self,
        cursor: Cursor<'a>,
        mut first: bool,
        depth: usize,
        out: &mut impl Slots<'a>,
    ) -> Result<&'a [u8], Malformed> {
        // A copy of its own can live in registers; the argument is the caller's memory.
        let mut cursor = cursor.local();
        loop {
            let key = cursor.key::<STRICT>(first)?;
            first = false;
            self.value::<STRICT>(self.find(key), &mut cursor, depth, out)?;
            match cursor.peek() {
                b',' => cursor.pass(),
                b'}' => {
                    cursor.pass();
                    return Ok(cursor.rest());
                }
                _ => return Err(Malformed),
            }
        }
    }

    /// The number of the wanted key that `key` is.
    #[inline(always)]
    pub(super) fn find(&self, key: Quoted<'_>) -> Option<usize> {
        self.keys.find(key)
    }

    /// The slot of a wanted key, if that is all that there is to fill.
    pub(super) fn only_slot(&self, number: usize) -> Option<usize> {
        match &self.wanted[number] {
            Wanted { slots, below: None } if slots.len() == 1 => Some(slots[0]),
            _ => None,
        }
    }

    /// Passes the value of the wanted key of this number, or of one that nobody wants; `depth` objects stand open.
    #[inline(always)]
    pub(super) fn value<'a, const STRICT: bool>(
        &self,
        number: Option<usize>,
        cursor: &mut Cursor<'a>,
        depth: usize,
        out: &mut impl Slots<'a>,
    ) -> Result<(), Malformed> {
        let Some(number) = number else { return cursor.value::<STRICT>(depth).map(|_| ()) };
        let wanted = &self.wanted[number];
        let value = match &wanted.below {
            None => cursor.value::<STRICT>(depth)?,
            Some(below) => {
                let (value, rest) = below.pick_member::<STRICT>(*cursor, depth, out)?;
                cursor.go(rest);
                value
            }
        };
        wanted.slots.iter().for_each(|slot| out.put(*slot, value));
        Ok(())
    }

    /// As [`pick`](Self::pick) from a value that may be no object. Answers with the value, too.
    #[inline(never)]
    fn pick_member<'a, const STRICT: bool>(
        &self,
        mut cursor: Cursor<'a>,
        depth: usize,
        out: &mut impl Slots<'a>,
    ) -> Result<(Field<'a>, &'a [u8]), Malformed> {
        // An earlier value under the same key, and all that was in it, no longer counts.
        self.slots.iter().for_each(|slot| out.put(*slot, Field::Missing));
        if cursor.peek() != b'{' {
            return Ok((cursor.value::<STRICT>(depth)?, cursor.rest()));
        }
        let start = cursor.rest();
        cursor.go(self.pick::<STRICT>(cursor, depth + 1, out)?);
        Ok((Field::Composite(cursor.since(start)), cursor.rest()))
    }
}

impl Wanted {
    fn new(paths: &[(usize, &[String])]) -> Self {
        let (here, deeper): (Vec<_>, Vec<_>) = paths.iter().copied().partition(|(_, rest)| rest.is_empty());
        Self {
            slots: here.into_iter().map(|(slot, _)| slot).collect(),
            below: (!deeper.is_empty()).then(|| Level::new(&deeper)),
        }
    }
}
