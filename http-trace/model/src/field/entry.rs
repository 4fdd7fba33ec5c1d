//! An entry of a field table: the description, the getter and the reader. Knows no table.

use super::draft::Draft;
use super::value::{About, Value};
use crate::event::HttpEvent;
use crate::head::{RequestHead, ResponseHead};
use crate::target::Target;

/// Takes a field's value from a record.
pub type Get<R> = for<'v, 'a> fn(&'v View<'a, R>) -> Option<Value<'a>>;

/// Puts a value that was read back into an event.
pub type Read = fn(&mut Draft, Value<'static>);

/// An entry of a table.
#[derive(Debug)]
pub struct Field<R: 'static> {
    /// What is known of it without a record.
    pub about: About,
    /// Its value; `None` for objects that are there because of their members, and for fields that
    /// detection computes.
    pub get: Option<Get<R>>,
    /// How to read it back; `None` for what follows from other fields.
    pub read: Option<Read>,
}

impl<R> Field<R> {
    /// An entry without getter and reader.
    pub const fn new(about: About) -> Self {
        Field {
            about,
            get: None,
            read: None,
        }
    }

    /// How to take it from a record.
    #[must_use]
    pub const fn get(mut self, get: Get<R>) -> Self {
        self.get = Some(get);
        self
    }

    /// How to read it back.
    #[must_use]
    pub const fn read(mut self, read: Read) -> Self {
        self.read = Some(read);
        self
    }

    /// The names under which rules may use it, the one that messages use first.
    #[must_use]
    pub const fn rules(mut self, names: &'static [&'static str]) -> Self {
        self.about.rules = names;
        self
    }

    /// See [`About::always`].
    #[must_use]
    pub const fn always(mut self) -> Self {
        self.about.always = true;
        self
    }

    /// See [`About::strict`].
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.about.strict = true;
        self
    }

    /// See [`About::of_connection`].
    #[must_use]
    pub const fn of_connection(mut self) -> Self {
        self.about.of_connection = true;
        self
    }

    /// See [`About::of_run`].
    #[must_use]
    pub const fn of_run(mut self) -> Self {
        self.about.of_run = true;
        self
    }
}

/// A record with what its fields are taken from beside it.
#[derive(Debug)]
pub struct View<'a, R> {
    /// The record.
    pub record: &'a R,
    /// Of an event: its target, taken apart.
    pub target: Target<'a>,
    /// Of an event: the user of Basic authentication, if that was kept when secrets were redacted.
    pub user: Option<&'a [u8]>,
    /// Name of this host.
    pub hostname: &'a [u8],
    /// Whether text that was written before this field holds bytes that are not UTF-8.
    pub escaped: bool,
}

impl<'a, R> View<'a, R> {
    /// Of a record alone.
    pub const fn new(record: &'a R) -> Self {
        View {
            record,
            target: Target::NOTHING,
            user: None,
            hostname: b"",
            escaped: false,
        }
    }
}

impl<'a> View<'a, HttpEvent> {
    pub(super) const fn request(&self) -> Option<&'a RequestHead> {
        self.record.request.as_ref()
    }

    pub(super) const fn response(&self) -> Option<&'a ResponseHead> {
        self.record.response.as_ref()
    }
}
