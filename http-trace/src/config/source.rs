//! Where a setting comes from: the command line, the environment or the file, in this order of
//! precedence. Knows the keys, not what their values mean.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Error, detect};
use http_trace_detect::tune::Tuning;

/// How the text of a key is cut into values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// Values between commas.
    List,
    /// Each occurrence is one value, since commas may be part of it; in the environment each line.
    Whole,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file; the long option is `--name`.
    pub name: &'static str,
    /// How its text is cut.
    pub shape: Shape,
    /// Whether it is an option of the command line too.
    pub option: bool,
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key {
        name,
        shape,
        option: true,
    }
}

/// A bound that is rarely touched: a key without an option.
const fn bound(name: &'static str) -> Key {
    Key {
        name,
        shape: Shape::One,
        option: false,
    }
}

/// Every setting there is.
pub const KEYS: &[Key] = &[
    key("read", Shape::Whole),
    key("interface", Shape::List),
    key("exclude-interface", Shape::List),
    key("hook", Shape::List),
    key("port", Shape::List),
    key("client", Shape::List),
    key("server", Shape::List),
    key("trusted-proxies", Shape::List),
    key("decap", Shape::List),
    key("kernel-filter", Shape::One),
    key("verify-checksums", Shape::One),
    key("duration", Shape::One),
    key("status", Shape::List),
    key("method", Shape::List),
    key("host", Shape::List),
    key("path", Shape::Whole),
    key("user-agent", Shape::Whole),
    key("header", Shape::Whole),
    key("rule", Shape::List),
    key("min-latency", Shape::One),
    key("count", Shape::One),
    key("rules", Shape::Whole),
    key("disable-rule", Shape::List),
    key("no-builtin-rules", Shape::One),
    key("fail-on-alert", Shape::One),
    key("state", Shape::One),
    key("alerts-to", Shape::Whole),
    key("output", Shape::Whole),
    key("headers", Shape::List),
    key("request-headers", Shape::List),
    key("body-snippet", Shape::One),
    key("emit", Shape::One),
    key("color", Shape::One),
    key("line-buffered", Shape::One),
    key("show-secrets", Shape::One),
    key("quiet", Shape::One),
    key("verbose", Shape::One),
    Key {
        name: "redact-headers",
        shape: Shape::List,
        option: false,
    },
    Key {
        name: "redact-parameters",
        shape: Shape::List,
        option: false,
    },
    bound("output-queue"),
    bound("ring-size"),
    bound("max-flows"),
    bound("heads-memory"),
    bound("reorder-memory"),
    bound("response-timeout"),
    bound("tc"),
    bound("framing"),
    Key {
        name: "own-endpoints",
        shape: Shape::List,
        option: false,
    },
    bound("detect-memory"),
    bound("state-interval"),
    bound("state-size"),
];

/// Where a value was given; its `Display` is how an error names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--name` of the command line.
    Option(&'static str),
    /// The variable of the environment.
    Environment(String),
    /// A key of the file.
    File(Arc<Path>, &'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Option(name) => write!(f, "--{name}"),
            Origin::Environment(name) => f.write_str(name),
            Origin::File(path, key) => write!(f, "{}: {key}", path.display()),
        }
    }
}

/// The values of one setting and where they were given.
#[derive(Clone, Debug)]
pub struct Given {
    /// One or more values, cut by [`Shape`], blanks around them removed, none of them empty.
    pub values: Vec<String>,
    /// Where.
    pub origin: Origin,
}

/// The settings that were given anywhere, each from the place that wins.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    given: BTreeMap<&'static str, Given>,
    /// What the file's table `[detect]` says.
    pub tuning: Tuning,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Sources {
    /// Gathers what was typed, what `environment` holds (name and value) and what the file says.
    ///
    /// # Errors
    /// A typed value that is empty, a file that cannot be read or is not TOML, an unknown key, a
    /// value that is not text, a number or a list of them.
    pub fn gather(
        typed: Vec<(&'static str, Vec<String>)>,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, Error> {
        let mut sources = Sources::default();
        for (name, typed) in typed {
            let mut values = Vec::new();
            for text in typed {
                let cut = cut(shape(name), &text);
                // Left out, it would mean everything, or this host instead of a capture.
                if cut.is_empty() {
                    return Err(Error::new(format!(
                        "--{name} '{text}': the value is empty (a shell variable that is not \
                         set?); give one, or leave the option out"
                    )));
                }
                values.extend(cut);
            }
            sources.add(name, Origin::Option(name), values);
        }
        for key in KEYS {
            let variable = variable(key.name);
            if let Some(text) = environment(&variable) {
                let values = match key.shape {
                    Shape::Whole => text.lines().flat_map(|l| cut(Shape::Whole, l)).collect(),
                    other => cut(other, &text),
                };
                sources.add(key.name, Origin::Environment(variable), values);
            }
        }
        let file = file
            .map(PathBuf::from)
            .or_else(|| environment("HTTP_TRACE_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            sources.add_file(&path)?;
            sources.file = Some(path);
        }
        Ok(sources)
    }

    fn add(&mut self, name: &'static str, origin: Origin, values: Vec<String>) {
        if !values.is_empty() {
            self.given.entry(name).or_insert(Given { values, origin });
        }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(format!(
                "cannot read the configuration {}: {error}",
                path.display()
            ))
        })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::new(format!("{} is not valid TOML: {error}", path.display()))
        })?;
        let path: Arc<Path> = path.into();
        for (name, value) in &table {
            if name == "detect" {
                let toml::Value::Table(table) = value else {
                    return Err(Error::new(format!(
                        "{}: detect: want a table ([detect], its keys below it)",
                        path.display()
                    )));
                };
                self.tuning = detect::read(table, &path.display().to_string())?;
                continue;
            }
            let wanted = name.replace('_', "-");
            let Some(key) = KEYS.iter().find(|k| k.name == wanted) else {
                let near = nearest(&wanted).map_or_else(
                    || "see 'http-trace --help' for the options, each of which is a key".to_owned(),
                    |k| format!("did you mean '{k}'?"),
                );
                return Err(Error::new(format!(
                    "{}: unknown key '{name}'; {near}",
                    path.display()
                )));
            };
            let origin = Origin::File(path.clone(), key.name);
            let mut values = Vec::new();
            match value {
                toml::Value::Array(items) => {
                    for item in items {
                        // An element is one value as it is, except that lists may hold lists in
                        // the option's own notation: port = ["80,443"].
                        values.extend(cut(key.shape, &scalar(item, &origin)?));
                    }
                }
                one => values.extend(cut(key.shape, &scalar(one, &origin)?)),
            }
            self.add(key.name, origin, values);
        }
        Ok(())
    }

    /// The values of a setting, if it was given.
    pub fn get(&self, name: &str) -> Option<&Given> {
        debug_assert!(KEYS.iter().any(|k| k.name == name), "no key {name}");
        self.given.get(name)
    }
}

fn scalar(value: &toml::Value, origin: &Origin) -> Result<String, Error> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(yes.to_string()),
        other => Err(Error::new(format!(
            "{origin} is a {}; it must be text, a whole number, true or false, or a list of them",
            other.type_str()
        ))),
    }
}

fn shape(name: &str) -> Shape {
    KEYS.iter()
        .find(|k| k.name == name)
        .map_or(Shape::One, |k| k.shape)
}

/// Variables that are not read here and are no mistake: what a program for alerts is told, which may
/// run this command in its turn.
const OTHERS: &[&str] = &["HTTP_TRACE_SEVERITY", "HTTP_TRACE_MESSAGE"];

/// The variables that are settings, those that are empty left out; and what is to be said of others
/// that look as if they were meant to be.
pub fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut settings, mut said) = (BTreeMap::new(), Vec::new());
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|n| n.starts_with("HTTP_TRACE_")) else {
            continue;
        };
        let key = name["HTTP_TRACE_".len()..].to_ascii_lowercase();
        let key = key.replace('_', "-");
        let known = KEYS.iter().any(|k| variable(k.name) == name);
        if !known && name != "HTTP_TRACE_CONFIG" {
            if !OTHERS.contains(&name) {
                let near = nearest(&key).map_or_else(String::new, |near| {
                    format!("; did you mean {}?", variable(near))
                });
                said.push(format!("{name} is no setting and is ignored{near}"));
            }
            continue;
        }
        match value.into_string() {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                settings.insert(name.to_owned(), value);
            }
            Err(_) => said.push(format!(
                "{name} is ignored: its value is not UTF-8; type it as --{key}"
            )),
        }
    }
    (settings, said)
}

/// Name of the variable in the environment.
pub fn variable(key: &str) -> String {
    format!("HTTP_TRACE_{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// Cuts at commas outside of braces (`{a,b}` is one glob) where the shape asks for it.
fn cut(shape: Shape, text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if shape == Shape::List {
        let (mut depth, mut start) = (0_u32, 0);
        for (at, c) in text.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    parts.push(&text[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&text[start..]);
    } else {
        parts.push(text);
    }
    parts
        .iter()
        .map(|p| p.trim())
        .filter(|p| !p.is_empty())
        .map(str::to_owned)
        .collect()
}

fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|k| (strsim::damerau_levenshtein(name, k.name), k.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn what_is_typed_wins_over_the_environment_and_that_over_the_file() {
        let file = file("status = ['1xx']\nport = [80, '443-445']\nmethod = 'GET'\nquiet = true\n");
        let environment = |name: &str| match name {
            "HTTP_TRACE_STATUS" => Some("2xx, 3xx".to_owned()),
            "HTTP_TRACE_METHOD" => Some("PUT".to_owned()),
            _ => None,
        };
        let typed = vec![("status", vec!["404,5xx".to_owned()])];
        let got = Sources::gather(typed, &environment, Some(file.path())).expect("gathers");
        let values = |name| got.get(name).map(|g| g.values.join("|"));
        assert_eq!(values("status").as_deref(), Some("404|5xx"));
        assert_eq!(values("method").as_deref(), Some("PUT"));
        assert_eq!(values("port").as_deref(), Some("80|443-445"));
        assert_eq!(values("quiet").as_deref(), Some("true"));
        assert_eq!(values("host"), None);
    }

    #[test]
    fn variables_that_are_no_settings_are_named() {
        let given = [
            ("HTTP_TRACE_STATUS", "404"),
            ("HTTP_TRACE_CONFIG", "x"),
            ("HTTP_TRACE_PORT", ""),
            ("HTTP_TRACE_MESSAGE", "x"),
            ("HTTP_TRACE_STAUTS", "500"),
            ("HTTP_TRACE_SOMETHING_ELSE", "500"),
            ("PATH", "x"),
        ];
        let given = given.map(|(name, value)| (name.into(), value.into()));
        let (settings, said) = environment(given.into_iter());
        let names: Vec<&String> = settings.keys().collect();
        assert_eq!(names, ["HTTP_TRACE_CONFIG", "HTTP_TRACE_STATUS"]);
        assert_eq!(
            said,
            [
                "HTTP_TRACE_STAUTS is no setting and is ignored; did you mean HTTP_TRACE_STATUS?",
                "HTTP_TRACE_SOMETHING_ELSE is no setting and is ignored",
            ]
        );
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt as _;
            let odd = OsString::from_vec(b"caf\xe9".to_vec());
            let (settings, said) = environment([("HTTP_TRACE_HOST".into(), odd)].into_iter());
            assert!(settings.is_empty());
            assert!(said[0].starts_with("HTTP_TRACE_HOST is ignored: its value is not UTF-8"));
        }
    }

    #[test]
    fn what_is_typed_and_empty_is_refused() {
        for (name, typed) in [
            ("read", vec![""]),
            ("client", vec![" "]),
            ("port", vec!["80", ""]),
            ("hook", vec![","]),
        ] {
            let typed = typed.into_iter().map(str::to_owned).collect();
            let error = Sources::gather(vec![(name, typed)], &|_| None, None).expect_err(name);
            let error = error.to_string();
            assert!(error.starts_with(&format!("--{name} '")), "{error}");
            assert!(error.contains("the value is empty"), "{error}");
        }
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_wrong() {
        for (text, expected) in [
            (
                "stauts = 404",
                "unknown key 'stauts'; did you mean 'status'?",
            ),
            (
                "nonsense_of_length = 404",
                "unknown key 'nonsense_of_length'; see",
            ),
            ("status = ", "is not valid TOML"),
            (
                "detect = 3",
                ": detect: want a table ([detect], its keys below it)",
            ),
            ("[status]\nx = 1", "status is a table; it must be text"),
        ] {
            let file = file(text);
            let error = Sources::gather(Vec::new(), &|_| None, Some(file.path()))
                .expect_err("refused")
                .to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(
                error.contains(&file.path().display().to_string()),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn lists_are_cut_at_commas_outside_of_braces() {
        for (shape, text, expected) in [
            (Shape::List, "a, b,,c", vec!["a", "b", "c"]),
            (
                Shape::List,
                "*.{a,b}.example,c",
                vec!["*.{a,b}.example", "c"],
            ),
            (Shape::Whole, "a, b", vec!["a, b"]),
            (Shape::One, " 3 ", vec!["3"]),
            (Shape::One, "", vec![]),
        ] {
            assert_eq!(cut(shape, text), expected, "{text:?}");
        }
    }
}
