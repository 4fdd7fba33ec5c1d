//! An entry of a field table: description, getter and reader. Knows no table.

use super::draft::Draft;
use super::value::{About, Kind, Value};
use crate::event::{HttpEvent, Missing};
use crate::head::{RequestHead, ResponseHead};
use crate::target::Target;

/// Gets a field's value from a record.
pub type Get<R> = for<'v, 'a> fn(&'v View<'a, R>) -> Option<Value<'a>>;

/// Stores a value that was read back in an event.
pub type Read = fn(&mut Draft, Value<'static>);

#[derive(Debug)]
pub struct Field<R: 'static> {
    pub about: About,
    /// Getter; `None` for objects that exist only because of their members, and for fields
    /// that detection computes.
    pub get: Option<Get<R>>,
    /// Reader; `None` if the value follows from other fields.
    pub read: Option<Read>,
}

impl<R> Field<R> {
    /// An entry without getter and reader.
    pub const fn new(about: About) -> Self {
        Field { about, get: None, read: None }
    }

    pub const fn get(mut self, get: Get<R>) -> Self {
        self.get = Some(get);
        self
    }

    pub const fn read(mut self, read: Read) -> Self {
        self.read = Some(read);
        self
    }

    /// Sets the names in rules; messages use the first.
    pub const fn rules(mut self, names: &'static [&'static str]) -> Self {
        self.about.rules = names;
        self
    }

    pub const fn always(mut self) -> Self {
        self.about.always = true;
        self
    }

    pub const fn strict(mut self) -> Self {
        self.about.strict = true;
        self
    }

    pub const fn of_connection(mut self) -> Self {
        self.about.of_connection = true;
        self
    }

    pub const fn of_run(mut self) -> Self {
        self.about.of_run = true;
        self
    }
}

/// An entry; where its value comes from is not shown.
pub const fn field<R>(name: &'static str, kind: Kind, meaning: &'static str) -> Field<R> {
    Field::new(About::new(name, kind, "", meaning))
}

/// An entry that is present whenever its parent object is.
pub const fn always<R>(name: &'static str, kind: Kind, meaning: &'static str) -> Field<R> {
    field(name, kind, meaning).always()
}

/// A record, and other data that its fields are taken from.
#[derive(Debug)]
pub struct View<'a, R> {
    pub record: &'a R,
    /// Of an event: its parsed target.
    pub target: Target<'a>,
    /// Of an event: the user of Basic authentication, if redaction kept it.
    pub user: Option<&'a [u8]>,
    /// Name of this host.
    pub hostname: &'a [u8],
    /// Whether text written before this field contains bytes that are not UTF-8.
    pub escaped: bool,
    /// Whether the format leaves out header fields of this event: of its request, of its response.
    pub left_out: [bool; 2],
}

impl<'a, R> View<'a, R> {
    pub const fn new(record: &'a R) -> Self {
        View {
            record,
            target: Target::NOTHING,
            user: None,
            hostname: b"",
            escaped: false,
            left_out: [false; 2],
        }
    }
}

impl<'a> View<'a, HttpEvent> {
    pub(super) const fn request(&self) -> Option<&'a RequestHead> {
        self.record.request.as_ref()
    }

    /// What is missing because the format leaves it out.
    pub fn left_out(&self) -> impl Iterator<Item = Missing> {
        let parts = [Missing::RequestHeaders, Missing::Headers].into_iter();
        parts.zip(self.left_out).filter_map(|(part, out)| out.then_some(part))
    }

    pub(super) const fn response(&self) -> Option<&'a ResponseHead> {
        self.record.response.as_ref()
    }
}
