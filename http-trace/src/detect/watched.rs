//! Lines of one name, and what is known of their values: which detections they stand for, and which
//! tests they pass. Each value is searched and tested once for as long as it is kept in mind.

use super::field::View;
use super::kept::Kept;
use super::lines::Name;
use super::literals::Literals;
use super::prefilter::{Bits, is_any_of, merge};

/// The lines of all names that are asked for.
#[derive(Debug)]
pub struct AllWatched {
    all: Vec<Watched>,
    /// By the number of the name, the place.
    places: Vec<Option<usize>>,
    words: usize,
}

impl AllWatched {
    /// None; `words` is the length of sets of detections.
    pub const fn new(words: usize) -> Self {
        AllWatched {
            all: Vec::new(),
            places: Vec::new(),
            words,
        }
    }

    /// The lines of a name, watched from now on.
    pub fn add(&mut self, name: Name) -> &mut Watched {
        if self.places.len() <= name.number() {
            self.places.resize(name.number() + 1, None);
        }
        let place = &mut self.places[name.number()];
        let at = *place.get_or_insert(self.all.len());
        if at == self.all.len() {
            self.all.push(Watched::new(name, self.words));
        }
        &mut self.all[at]
    }

    /// The lines of the name of this number, if anything is asked of them.
    pub fn of_name(&mut self, number: usize) -> Option<&mut Watched> {
        self.all.get_mut((*self.places.get(number)?)?)
    }

    /// To be called when all is known that will be asked.
    pub fn finish(&mut self) {
        self.all.iter_mut().for_each(Watched::finish);
    }
}

/// The lines of a name.
#[derive(Debug)]
pub struct Watched {
    name: Name,
    /// Detections for which a line's being there is enough.
    present: Bits,
    literals: Option<Literals>,
    /// Detections that ask for these lines.
    mask: Bits,
    tests: usize,
    /// Of each value the detections that its literals stand for; the tests that it was asked; those
    /// that it passed.
    kept: Kept,
    /// The place of the value at hand.
    now: Option<usize>,
}

impl Watched {
    fn new(name: Name, words: usize) -> Self {
        let zero = || vec![0_u64; words].into_boxed_slice();
        Watched {
            name,
            present: zero(),
            literals: None,
            mask: zero(),
            tests: 0,
            kept: Kept::new(0),
            now: None,
        }
    }

    /// What literals in the value, or its being there, stand for.
    pub fn stands_for(&mut self, present: Bits, literals: Option<Literals>) {
        merge(&mut self.mask, &present);
        if let Some(literals) = &literals {
            merge(&mut self.mask, &literals.mask);
        }
        (self.present, self.literals) = (present, literals);
    }

    /// A detection asks for the lines.
    pub fn ask_for(&mut self, detection: usize) {
        self.mask[detection / 64] |= 1 << (detection % 64);
    }

    /// The number of one more test of values.
    pub const fn add_test(&mut self) -> usize {
        self.tests += 1;
        self.tests - 1
    }

    fn finish(&mut self) {
        self.kept = Kept::new(self.present.len() + 2 * self.tests.div_ceil(64));
    }

    /// Adds the detections that the lines of an event stand for; only `possible` ones matter.
    pub fn find(&mut self, view: &View<'_>, possible: &[u64], found: &mut Bits) {
        self.now = None;
        let Some(first) = view.noted.first(self.name, view.event) else {
            return;
        };
        if !is_any_of(&self.mask, possible) {
            return;
        }
        merge(found, &self.present);
        if view.noted.has_several(self.name) {
            for value in view.noted.all(self.name, view.event) {
                if let Some(literals) = &self.literals {
                    literals.search(value, found);
                }
            }
            return;
        }
        let place = self.kept.place(first);
        self.now = place.map(|(at, _)| at);
        let Some(literals) = &self.literals else {
            return;
        };
        match place {
            Some((at, new)) => {
                let words = self.present.len();
                let known = &mut self.kept.bits(at)[..words];
                if new {
                    literals.search(first, known);
                }
                merge(found, known);
            }
            None => literals.search(first, found),
        }
    }

    /// Whether the value at hand passes the test of this number: as it is known, or as `ask` says.
    pub fn known(&mut self, number: usize, ask: impl FnOnce() -> bool) -> bool {
        let Some(at) = self.now else {
            return ask();
        };
        let (word, bit) = (number / 64, 1 << (number % 64));
        let asked = self.present.len() + word;
        let passed = asked + self.tests.div_ceil(64);
        let bits = self.kept.bits(at);
        if bits[asked] & bit == 0 {
            bits[asked] |= bit;
            if ask() {
                bits[passed] |= bit;
            }
        }
        bits[passed] & bit != 0
    }
}
