//! Which detections an event can match at all, found without evaluating them: by its status, and
//! by one pass over each text that literals are looked for in. Leaves nothing out that matches.

use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};

use super::field::{Field, View};
use super::matcher::{Expr, Test, TextTest};

/// Statuses from 0 (no response) to 999.
const STATUSES: usize = 1000;

/// The most literals of one detection; with more it is always evaluated.
const LITERALS: usize = 512;

/// A set of detections by their number.
type Bits = Box<[u64]>;

/// The prefilter of a list of detections.
#[derive(Debug)]
pub struct Prefilter {
    words: usize,
    /// For each status the detections that it leaves possible.
    by_status: Vec<u64>,
    /// Detections that no literal stands for.
    always: Bits,
    texts: Vec<Text>,
    /// Detections that literals were found for, of the event at hand.
    found: Bits,
}

/// One field that literals are looked for in.
#[derive(Debug)]
struct Text {
    field: Field,
    automaton: Box<DFA>,
    /// For each literal the detections it stands for.
    of: Vec<Box<[u32]>>,
    /// Detections that have a literal here.
    mask: Bits,
}

impl Prefilter {
    /// Over detections in the order of their numbers.
    pub fn new(detections: &[&Expr]) -> Self {
        let words = detections.len().div_ceil(64).max(1);
        let zero = || vec![0_u64; words].into_boxed_slice();
        let mut by_status = vec![0; STATUSES * words];
        let mut always = zero();
        let mut wanted: Vec<(Field, Vec<(Vec<u8>, u32)>)> = Vec::new();
        for (number, expr) in detections.iter().enumerate() {
            for status in 0..STATUSES {
                let code = (status > 0).then_some(status as u16);
                if expr.possible_with(code) {
                    by_status[status * words + number / 64] |= 1 << (number % 64);
                }
            }
            match literals(expr).filter(|l| l.len() <= LITERALS) {
                Some(literals) => {
                    for (field, literal) in literals {
                        let at = match wanted.iter().position(|(f, _)| *f == field) {
                            Some(at) => at,
                            None => {
                                wanted.push((field, Vec::new()));
                                wanted.len() - 1
                            }
                        };
                        wanted[at].1.push((literal, number as u32));
                    }
                }
                None => always[number / 64] |= 1 << (number % 64),
            }
        }
        let mut texts = Vec::new();
        for (field, mut entries) in wanted {
            entries.sort();
            entries.dedup();
            let mut patterns: Vec<Vec<u8>> = Vec::new();
            let mut of: Vec<Vec<u32>> = Vec::new();
            let mut mask = zero();
            for (literal, number) in entries {
                if patterns.last() != Some(&literal) {
                    patterns.push(literal);
                    of.push(Vec::new());
                }
                if let Some(last) = of.last_mut() {
                    last.push(number);
                }
                mask[number as usize / 64] |= 1 << (number % 64);
            }
            let automaton = DFA::builder()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::Standard)
                .start_kind(StartKind::Unanchored)
                .build(&patterns);
            match automaton {
                Ok(automaton) => texts.push(Text {
                    field,
                    automaton: Box::new(automaton),
                    of: of.into_iter().map(Vec::into_boxed_slice).collect(),
                    mask,
                }),
                // Too many literals for an automaton: their detections are evaluated always.
                Err(_) => merge(&mut always, &mask),
            }
        }
        Prefilter {
            words,
            by_status,
            always,
            texts,
            found: zero(),
        }
    }

    /// Hands the numbers of the detections that may match to `with`, in order.
    pub fn each(&mut self, view: &View<'_>, with: &mut dyn FnMut(usize)) {
        let status = view.event.response.as_ref().map_or(0, |r| r.status);
        let at = usize::from(status).min(STATUSES - 1) * self.words;
        let possible = &self.by_status[at..at + self.words];
        if possible.iter().all(|word| *word == 0) {
            return;
        }
        self.found.copy_from_slice(&self.always);
        for text in &self.texts {
            let asked = text.mask.iter().zip(possible).any(|(a, b)| a & b != 0);
            if asked {
                let found = &mut self.found;
                let _ = view.any(&text.field, &mut |value| {
                    value.with_text(|bytes| text.search(bytes, found));
                    false
                });
            }
        }
        for (word, (possible, found)) in possible.iter().zip(&self.found).enumerate() {
            let mut left = possible & found;
            while left != 0 {
                with(word * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

impl Text {
    fn search(&self, bytes: &[u8], found: &mut Bits) {
        let input = aho_corasick::Input::new(bytes).anchored(Anchored::No);
        let mut state = OverlappingState::start();
        loop {
            if self
                .automaton
                .try_find_overlapping(&input, &mut state)
                .is_err()
            {
                return;
            }
            let Some(hit) = state.get_match() else { return };
            for number in self.of.get(hit.pattern().as_usize()).into_iter().flatten() {
                found[*number as usize / 64] |= 1 << (number % 64);
            }
        }
    }
}

fn merge(into: &mut Bits, other: &Bits) {
    for (into, other) in into.iter_mut().zip(other) {
        *into |= other;
    }
}

/// Literals of which at least one is in its field whenever the condition holds; `None` when there
/// is no such set. In lower case.
fn literals(expr: &Expr) -> Option<Vec<(Field, Vec<u8>)>> {
    match expr {
        Expr::Constant(_) | Expr::Not(_) | Expr::Keyword(_) => None,
        Expr::Item(field, Test::Text(test)) => {
            let one = |bytes: &[u8]| {
                (!bytes.is_empty()).then(|| vec![(field.clone(), bytes.to_ascii_lowercase())])
            };
            match test {
                TextTest::Equals(l)
                | TextTest::Starts(l)
                | TextTest::Ends(l)
                | TextTest::Contains(l) => one(&l.bytes),
                TextTest::Glob(glob) => glob
                    .parts
                    .iter()
                    .flat_map(|part| part.split(Option::is_none))
                    .map(|run| run.iter().copied().flatten().collect::<Vec<u8>>())
                    .max_by_key(Vec::len)
                    .and_then(|longest| one(&longest)),
                TextTest::ContainsAny(many) => Some(
                    many.texts
                        .iter()
                        .map(|text| (field.clone(), text.to_ascii_lowercase().into_bytes()))
                        .collect(),
                ),
                TextTest::Regex(_) => None,
            }
        }
        Expr::Item(..) => None,
        // The part that is the rarest, taken to be the one whose shortest literal is the longest.
        Expr::All(parts) => parts
            .iter()
            .filter_map(literals)
            .max_by_key(|set| set.iter().map(|(_, l)| l.len()).min()),
        Expr::AtLeast(_, parts) => {
            let mut set = Vec::new();
            for part in parts {
                set.extend(literals(part)?);
            }
            Some(set)
        }
    }
}
