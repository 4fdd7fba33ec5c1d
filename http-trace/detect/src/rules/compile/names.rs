//! The field that a name in a rule leads to, or why there is none. Knows nothing of modifiers and
//! values; which names there are is up to [`Field`] and [`unseen`].

use super::Refused;
use crate::field::Field;
use crate::rules::unseen;

/// The field of a name.
///
/// # Errors
/// A name that leads to none, with the nearest one that does.
pub(crate) fn field(name: &str) -> Result<Field, Refused> {
    Field::named(name).ok_or_else(|| {
        if let Some(why) = unseen::why(name) {
            return Refused::new(name, format!("no event has '{name}': {why}"));
        }
        let near = Field::suggestion(name)
            .map_or_else(String::new, |known| format!("; did you mean '{known}'?"));
        Refused::new(name, format!("unknown field '{name}'{near}"))
    })
}
