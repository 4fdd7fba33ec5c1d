//! A row of the settings table: name, command-line form and list syntax of a setting. Knows no particular
//! setting and no value type.

/// How the text of a setting is split into values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    /// Comma-separated values.
    List,
    /// Each occurrence is one value, because values may contain commas; in the environment, each line.
    Whole,
}

/// How a setting appears on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// No option: only a key in the file and a variable.
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

/// Kinds of runs in which a setting has an effect: bits of [`Key::runs`].
pub mod runs {
    /// Live tracing.
    pub const LIVE: u8 = 1;
    /// Reading captures.
    pub const CAPTURES: u8 = 2;
    /// Reading recorded events.
    pub const RECORDED: u8 = 4;
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Key in the file; the long option is `--name`.
    pub name: &'static str,
    /// How its text is split.
    pub shape: Shape,
    /// How it appears on the command line.
    pub form: Form,
    pub short: Option<char>,
    /// Placeholder of the value in help.
    pub value: &'static str,
    /// Default value; empty: none.
    pub default: &'static str,
    /// What completion of the shell offers as its value.
    pub offers: &'static [&'static str],
    /// Bits of [`runs`].
    pub runs: u8,
    /// Whether SIGHUP applies a new value; others need a restart.
    pub reloads: bool,
    /// Heading of its group in help.
    pub group: &'static str,
    /// Help text.
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
            offers: &[],
            runs: runs::LIVE | runs::CAPTURES | runs::RECORDED,
            reloads: false,
            group: "",
            meaning: "",
        }
    }

    pub(super) const fn short(self, letter: char) -> Self {
        Key { short: Some(letter), ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Key { default, ..self }
    }

    pub(super) const fn offers(self, offers: &'static [&'static str]) -> Self {
        Key { offers, ..self }
    }

    pub(super) const fn only(self, runs: u8) -> Self {
        Key { runs, ..self }
    }

    pub(super) const fn no_option(self) -> Self {
        Key { form: Form::Absent, ..self }
    }

    pub(super) const fn reloads(self) -> Self {
        Key { reloads: true, ..self }
    }

    /// Name of the environment variable.
    pub fn variable(&self) -> String {
        format!("HTTP_TRACE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
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
