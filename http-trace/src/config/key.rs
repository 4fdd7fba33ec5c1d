//! A row of the table of settings: how a setting is called, typed and cut. Knows no setting and no
//! type of a value.

/// How the text of a setting is cut into values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// Values between commas.
    List,
    /// Each occurrence is one value, since commas may be part of it; in the environment each line.
    Whole,
}

/// How a setting is typed on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not at all: it has a key and a variable.
    Absent,
    /// `--name VALUE`, once or, unless its shape is [`Shape::One`], repeatedly.
    Value,
    /// `--name VALUE VALUE …`: all words up to the next option.
    Words,
    /// `--name` or `--name=BOOL`.
    Switch,
    /// `--name`.
    Flag,
    /// `--name`, counted.
    Count,
}

/// Runs on which a setting has an effect: bits of [`Key::runs`].
pub mod runs {
    /// Live tracing.
    pub const LIVE: u8 = 1;
    /// Captures.
    pub const CAPTURES: u8 = 2;
    /// Recorded events.
    pub const RECORDED: u8 = 4;
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file; the long option is `--name`.
    pub name: &'static str,
    /// How its text is cut.
    pub shape: Shape,
    /// How it is typed.
    pub form: Form,
    /// The letter of its short option.
    pub short: Option<char>,
    /// What help calls its value.
    pub value: &'static str,
    /// The value where none is given; empty: none.
    pub default: &'static str,
    /// Bits of [`runs`].
    pub runs: u8,
    /// Whether SIGHUP sets a new value to work; others wait for a restart.
    pub reloads: bool,
    /// The heading of its group.
    pub group: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

impl Key {
    pub(super) const fn new(value: &'static str, shape: Shape, form: Form) -> Self {
        Key {
            name: "",
            shape,
            form,
            short: None,
            value,
            default: "",
            runs: runs::LIVE | runs::CAPTURES | runs::RECORDED,
            reloads: false,
            group: "",
            meaning: "",
        }
    }

    pub(super) const fn short(self, letter: char) -> Self {
        Key {
            short: Some(letter),
            ..self
        }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Key { default, ..self }
    }

    pub(super) const fn only(self, runs: u8) -> Self {
        Key { runs, ..self }
    }

    pub(super) const fn no_option(self) -> Self {
        Key {
            form: Form::Absent,
            ..self
        }
    }

    pub(super) const fn reloads(self) -> Self {
        Key {
            reloads: true,
            ..self
        }
    }

    /// Name of the variable in the environment.
    pub fn variable(&self) -> String {
        format!(
            "HTTP_TRACE_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}

/// The key whose name is nearest to this one, unless all are far from it.
pub fn nearest<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter()
        .map(|key| (strsim::damerau_levenshtein(name, key.name), key))
        .min_by_key(|(distance, key)| (*distance, key.name))
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, key)| key)
}

pub(super) const fn one(value: &'static str) -> Key {
    Key::new(value, Shape::One, Form::Value)
}

pub(super) const fn list(value: &'static str) -> Key {
    Key::new(value, Shape::List, Form::Value)
}

pub(super) const fn words(value: &'static str) -> Key {
    Key::new(value, Shape::List, Form::Words)
}

pub(super) const fn whole(value: &'static str) -> Key {
    Key::new(value, Shape::Whole, Form::Value)
}

pub(super) const fn switch() -> Key {
    Key::new("BOOL", Shape::One, Form::Switch).default("false")
}
