//! Lines of one name, and into which class a value falls: values of one class pass the same tests.
//! What a value's class is, is found once for as long as the value is kept in mind; what detections
//! make of classes is for [`super::conditions`].

use super::field::{Value, View};
use super::kept::Kept;
use super::lines::{self, Line, Name};
use super::literals::Literals;
use super::matcher::{Test, literals_of};
use super::prefilter::{Bits, is_any_of};
use http_trace_model::fields::mime_type;

/// The most classes of one name; with more of them, all are found anew.
const CLASSES: usize = 256;

/// What is read of field lines of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Each of them.
    All,
    /// The first.
    First,
    /// The media type in the first.
    MediaType,
}

/// A test whose outcome follows from the values of field lines.
#[derive(Debug)]
pub struct LineTest {
    /// What it reads of them.
    pub read: Read,
    /// What it asks.
    pub test: Test,
}

impl LineTest {
    /// Whether an event without such a line passes.
    pub const fn passes_without(&self) -> bool {
        matches!(self.test, Test::Absent | Test::Missing)
    }

    fn passes(&self, value: &[u8], view: &View<'_>) -> bool {
        let value = match self.read {
            Read::All | Read::First => Some(value),
            Read::MediaType => mime_type(value),
        };
        match value {
            Some(value) => self.test.passes(view, &Value::Text(value)),
            None => self.passes_without(),
        }
    }
}

/// The lines of all names that are asked for.
#[derive(Debug)]
pub struct AllWatched {
    all: Vec<Watched>,
    /// By the number of the name, the place.
    places: Vec<Option<usize>>,
    /// The length of sets of detections, in words.
    words: usize,
    /// For each status the names with a number of their own that are asked for under it
    /// ([`super::lines::known`]).
    known: Vec<[u64; 2]>,
}

impl AllWatched {
    /// None; `words` is the length of sets of detections.
    pub const fn new(words: usize) -> Self {
        AllWatched {
            all: Vec::new(),
            places: Vec::new(),
            words,
            known: Vec::new(),
        }
    }

    /// The place of the lines of a name, watched from now on.
    pub fn add(&mut self, name: Name) -> usize {
        if self.places.len() <= name.number() {
            self.places.resize(name.number() + 1, None);
        }
        let place = &mut self.places[name.number()];
        let at = *place.get_or_insert(self.all.len());
        if at == self.all.len() {
            self.all.push(Watched::new(name, self.words));
        }
        at
    }

    /// The lines at a place.
    pub fn at(&mut self, place: usize) -> &mut Watched {
        &mut self.all[place]
    }

    /// The lines at a place, which are not to be changed.
    pub fn get(&self, place: usize) -> &Watched {
        &self.all[place]
    }

    /// The names with a number of their own that are asked for under a status.
    pub fn known(&self, status: usize) -> [u64; 2] {
        self.known.get(status).copied().unwrap_or([u64::MAX; 2])
    }

    /// The lines of the name of this number, if any of some detections asks for them.
    pub fn asked_for(&mut self, number: usize, possible: &[u64]) -> Option<&mut Watched> {
        let lines = self.named(number)?;
        is_any_of(&lines.mask, possible).then_some(lines)
    }

    /// The lines of the name of this number, if anything is asked of them.
    pub fn named(&mut self, number: usize) -> Option<&mut Watched> {
        self.all.get_mut((*self.places.get(number)?)?)
    }

    /// To be called when all is known that will be asked, with the detections that each status leaves
    /// possible.
    pub fn finish<'a>(&mut self, possible: impl Iterator<Item = &'a [u64]>) {
        let kinds = self.all.len();
        self.all.iter_mut().for_each(|lines| lines.finish(kinds));
        let known = |possible: &'a [u64]| {
            let mut known = [0; 2];
            lines::each_of([u64::MAX; 2], |number| {
                let place = self.places.get(number).copied().flatten();
                let lines = place.and_then(|place| self.all.get(place));
                if lines.is_some_and(|lines| is_any_of(&lines.mask, possible)) {
                    known[number / 64] |= 1 << (number % 64);
                }
            });
            known
        };
        self.known = possible.map(known).collect();
    }
}

/// The lines of a name.
#[derive(Debug)]
pub struct Watched {
    /// The name.
    pub name: Name,
    /// Detections that ask for these lines.
    pub mask: Bits,
    tests: Vec<LineTest>,
    /// Tests for which no literal stands: each value is asked them.
    always: Bits,
    /// Literals that stand for the other tests.
    literals: Option<Literals>,
    /// Of each class the tests that its values pass, a bit each.
    classes: Vec<u64>,
    kept: Kept,
    /// The class of the event at hand.
    now: usize,
    /// Tests to be asked of the lines at hand, and those passed.
    asked: Bits,
    passed: Bits,
}

impl Watched {
    fn new(name: Name, words: usize) -> Self {
        Watched {
            name,
            mask: vec![0; words].into(),
            tests: Vec::new(),
            always: Bits::default(),
            literals: None,
            classes: Vec::new(),
            kept: Kept::new(1),
            now: 0,
            asked: Bits::default(),
            passed: Bits::default(),
        }
    }

    /// A detection asks for the lines.
    pub fn ask_for(&mut self, detection: usize) {
        self.mask[detection / 64] |= 1 << (detection % 64);
    }

    /// The number of one more test of values.
    pub fn add_test(&mut self, test: LineTest) -> usize {
        self.tests.push(test);
        self.tests.len() - 1
    }

    fn words(&self) -> usize {
        self.always.len()
    }

    fn finish(&mut self, kinds: usize) {
        let words = self.tests.len().div_ceil(64);
        let mut always = vec![0; words];
        let mut entries = Vec::new();
        for (number, LineTest { test, .. }) in self.tests.iter().enumerate() {
            match test {
                Test::Text(text) if let Some(literals) = literals_of(text) => {
                    entries.extend(literals.into_iter().map(|l| (l, number as u32)));
                }
                _ => always[number / 64] |= 1 << (number % 64),
            }
        }
        match Literals::new(entries, words) {
            Ok(literals) => self.literals = Some(literals).filter(|l| !l.is_empty()),
            // Too many for an automaton.
            Err(mask) => (always.iter_mut().zip(&mask)).for_each(|(all, mask)| *all |= mask),
        }
        (self.asked, self.passed) = (vec![0; words].into(), vec![0; words].into());
        self.always = always.into();
        self.kept = Kept::new(kinds);
    }

    /// Finds the class of the lines of an event that has some; what classes there were before is
    /// void when the second value is set.
    pub fn classify(&mut self, view: &View<'_>) -> (usize, bool) {
        if self.tests.is_empty() {
            // That there is one is all that is asked.
            return (0, false);
        }
        let Some(lines) = view.noted.lines(self.name, view.event) else {
            return (0, false);
        };
        if !lines.has_more
            && let Some(class) = self.kept.number(lines.first)
        {
            self.now = class.into();
            return (self.now, false);
        }
        let (class, void) = self.class_of(lines, view);
        self.now = class;
        (class, void)
    }

    /// Finds the class of lines, and keeps it if there is one line.
    #[inline(never)]
    fn class_of(&mut self, lines: Line<'_>, view: &View<'_>) -> (usize, bool) {
        let Line { first, has_more } = lines;
        self.asked.copy_from_slice(&self.always);
        self.passed.fill(0);
        if let Some(literals) = &self.literals {
            for value in view.noted.all(self.name, view.event) {
                literals.search(value, &mut self.asked);
            }
        }
        for word in 0..self.asked.len() {
            let mut left = self.asked[word];
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                let test = &self.tests[word * 64 + bit];
                let passes = if test.read == Read::All && has_more {
                    let mut values = view.noted.all(self.name, view.event);
                    values.any(|value| test.passes(value, view))
                } else {
                    test.passes(first, view)
                };
                self.passed[word] |= u64::from(passes) << bit;
            }
        }
        let (class, void) = self.class_of_passed();
        if !has_more {
            self.kept.put(first, class as u16);
        }
        (class, void)
    }

    /// The number of the class of what passes the tests at hand; a new one if need be.
    fn class_of_passed(&mut self) -> (usize, bool) {
        let words = self.words();
        let mut classes = self.classes.chunks_exact(words);
        if let Some(class) = classes.position(|class| *class == *self.passed) {
            return (class, false);
        }
        let void = self.classes.len() >= CLASSES * words;
        if void {
            self.classes.clear();
            self.kept.forget();
        }
        self.classes.extend_from_slice(&self.passed);
        (self.classes.len() / words - 1, void)
    }

    /// Whether the lines of the event at hand pass a test, which its class must be known for.
    pub fn passes(&self, test: usize, view: &View<'_>) -> bool {
        if !view.noted.has(self.name, view.event) {
            return self.tests[test].passes_without();
        }
        let word = self.classes.get(self.now * self.words() + test / 64);
        word.is_some_and(|word| word >> (test % 64) & 1 != 0)
    }
}
