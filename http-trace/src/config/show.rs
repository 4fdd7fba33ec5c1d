//! Prints settings as a file for `--config`, each with where it was given. Passwords in URLs are removed.

use std::fmt;

use super::key::{Form, Shape};
use super::{Config, KEYS};
use crate::sink::deliver::without_password;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = "";
        for key in KEYS {
            if key.group != group {
                let gap = if group.is_empty() { "" } else { "\n" };
                group = key.group;
                writeln!(f, "{gap}# {group}")?;
            }
            let effective = self.layers.effective(key);
            let values = effective.values.iter().map(|value| without_password(value));
            let values: Vec<String> =
                values.map(|value| toml::Value::String(value.into_owned()).to_string()).collect();
            let is_bare = matches!(key.form, Form::Switch | Form::Flag | Form::Count);
            let text = match (key.shape, &*values) {
                (_, []) => {
                    writeln!(f, "# {} not set", key.name)?;
                    continue;
                }
                (Shape::One, [value]) if is_bare => value.trim_matches('"').to_owned(),
                (Shape::One, [value]) => value.clone(),
                (_, several) => format!("[{}]", several.join(", ")),
            };
            let origin = match self.layers.given(key.name) {
                // The origin `FILE:3: port` ends in the key, which the line already shows.
                Some(given) => given.origin.trim_end_matches(&format!(": {}", key.name)),
                None => "default",
            };
            writeln!(f, "{} = {text}  # {origin}", key.name)?;
        }
        match &self.file {
            Some(file) => writeln!(f, "\n# table [detect]: see {}", file.display()),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Formats `no faults in /etc/http-trace.toml; 3 settings given`.
    pub fn summary(&self) -> String {
        let given = KEYS.iter().filter(|key| self.layers.given(key.name).is_some());
        let place = match &self.file {
            Some(file) => format!("no faults in {}", file.display()),
            None => "no faults, no file (--config FILE)".to_owned(),
        };
        match given.count() {
            1 => format!("{place}; 1 setting given"),
            given => format!("{place}; {given} settings given"),
        }
    }
}
