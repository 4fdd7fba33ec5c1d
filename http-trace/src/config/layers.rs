//! Layers of settings: command line over environment over file over default. A list is taken whole from the
//! layer that wins. Knows the keys, not what their values mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use http_trace_detect::diagnose::nearest;
use http_trace_detect::tune::Tuning;
use http_trace_model::scalars::Scalars;
use serde::Deserialize;
use toml::de::{DeTable, ValueDeserializer};

use super::detect;
use super::key::{Key, Shape};
use super::values::Field;
use crate::select::filters;
use crate::sink::deliver::without_password;
use crate::sink::has_option;

/// Rewords a serde error like our other messages: what was expected comes first.
pub(super) fn worded(message: &str) -> String {
    let types = message.strip_prefix("invalid type: ");
    match types.and_then(|types| types.split_once(", expected ")) {
        Some(("map", want)) => format!("want {want}, not a table"),
        Some((is, want)) => format!("want {want}, not {is}"),
        None => message.to_owned(),
    }
}

/// The values of one setting and where they were given.
#[derive(Clone, Debug)]
pub struct Given {
    /// One or more values, split by [`Shape`], trimmed, none of them empty.
    pub values: Vec<String>,
    /// Where it was given, as shown in errors: `--port`, `HTTP_TRACE_PORT`, `FILE:3: port`.
    pub origin: String,
    /// Line in the file, from 1; 0 elsewhere.
    pub(super) line: usize,
}

impl fmt::Display for Given {
    /// Formats it as a typed option: `--port 80,443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.origin, self.values.join(","))
    }
}

/// What is wrong with a setting, and its line in the file (0 elsewhere).
pub(super) type Fault = (usize, String);

/// One line for each fault, in the order of the file.
pub(super) fn joined(mut faults: Vec<Fault>) -> String {
    faults.sort_by_key(|(line, _)| *line);
    faults.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("\n")
}

/// All settings that were given, each from the layer that wins.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    keys: &'static [Key],
    /// Typed options, unchanged.
    typed: Vec<(&'static str, Vec<String>)>,
    given: BTreeMap<&'static str, Given>,
    /// The `[detect]` table of the file.
    pub tuning: Tuning,
    pub file: Option<PathBuf>,
    pub(super) faults: Vec<Fault>,
}

impl Layers {
    /// Collects typed options, `environment` (looked up by name) and the file. Unknown keys of the file, and
    /// values that are neither text, a number nor a list of these, are among the faults.
    pub fn gather(
        keys: &'static [Key],
        typed: Vec<(&'static str, Vec<String>)>,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, String> {
        let mut layers = Layers {
            keys,
            typed: typed.clone(),
            given: BTreeMap::new(),
            tuning: Tuning::default(),
            file: None,
            faults: Vec::new(),
        };
        for (name, typed) in typed {
            let shape = keys.iter().find(|key| key.name == name).map(|k| k.shape);
            let mut values = Vec::new();
            for text in typed {
                let cut = cut(shape.unwrap_or(Shape::One), &text);
                // Ignoring an empty value would trace everything, or this host instead of a capture.
                if cut.is_empty() {
                    return Err(format!(
                        "--{name} '{text}': the value is empty (an unset shell variable?); give a \
                         value or omit the option"
                    ));
                }
                values.extend(cut);
            }
            layers.add(name, 0, format!("--{name}"), values);
        }
        for key in keys {
            if let Some(text) = environment(&key.variable()) {
                let values = match key.shape {
                    Shape::Whole => text.lines().flat_map(|l| cut(Shape::Whole, l)).collect(),
                    other => cut(other, &text),
                };
                layers.add(key.name, 0, key.variable(), values);
            }
        }
        let file =
            file.map(PathBuf::from).or_else(|| environment("HTTP_TRACE_CONFIG").map(PathBuf::from));
        if let Some(path) = file {
            layers.add_file(&path)?;
            layers.file = Some(path);
        }
        Ok(layers)
    }

    fn add(&mut self, name: &'static str, line: usize, origin: String, values: Vec<String>) {
        if !values.is_empty() {
            self.given.entry(name).or_insert(Given { values, origin, line });
        }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let name = path.display();
        if let Some(why) = untrusted(path) {
            return Err(format!("the configuration {name} is not trusted: {why}"));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the configuration {name}: {error}"))?;
        let table =
            DeTable::parse(&text).map_err(|error| format!("{name} is not valid TOML: {error}"))?;
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        for (given, value) in table.into_inner() {
            let at = line(given.span().start);
            let wanted = given.get_ref().replace('_', "-");
            if wanted == "detect" {
                let (tuning, faults) = detect::read(value);
                self.tuning = tuning;
                self.faults.extend(faults.into_iter().map(|(span, what)| {
                    let at = span.map_or(at, |span| line(span.start));
                    (at, format!("{name}:{at}: {what}"))
                }));
                continue;
            }
            let value = ValueDeserializer::from(value);
            let Some(key) = self.keys.iter().find(|key| key.name == wanted) else {
                let near = nearest(&wanted, self.keys.iter().map(|key| key.name), 3);
                let near = match near {
                    _ if has_option(&wanted) => {
                        format!("it is an option of an output: output = \"json:FILE,{wanted}=…\"")
                    }
                    Some(name) => format!("did you mean '{name}'?"),
                    None => "every option is a key: see 'http-trace --help'".to_owned(),
                };
                let given = given.get_ref();
                self.faults.push((at, format!("{name}:{at}: unknown key '{given}'; {near}")));
                continue;
            };
            let origin = format!("{name}:{at}: {}", key.name);
            match Scalars::deserialize(value) {
                Ok(scalars) => {
                    // An element may itself be a list in option syntax: port = ["80,443"].
                    let values = scalars.0.iter().flat_map(|text| cut(key.shape, text));
                    self.add(key.name, at, origin, values.collect());
                }
                Err(error) => {
                    self.faults.push((at, format!("{origin}: {}", worded(error.message()))));
                }
            }
        }
        Ok(())
    }

    /// The values of a setting, if it was given.
    pub fn given(&self, name: &str) -> Option<&Given> {
        debug_assert!(self.keys.iter().any(|key| key.name == name), "{name}");
        self.given.get(name)
    }

    /// The values of a setting or of its default; empty if it has neither.
    pub fn effective(&self, key: &Key) -> Cow<'_, Given> {
        let default = || Given {
            values: cut(key.shape, key.default),
            origin: format!("the default of {}", key.name),
            line: 0,
        };
        let given = self.given.get(key.name);
        given.map_or_else(|| Cow::Owned(default()), Cow::Borrowed)
    }

    /// Gathers again, re-reading the file.
    pub fn again(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        Self::gather(self.keys, self.typed.clone(), environment, self.file.as_deref())
    }

    /// Replaces the settings by `now`, except those that need a restart. Returns the names of changed
    /// settings: those applied, and those that need a restart.
    pub fn take(&mut self, mut now: Layers) -> [Vec<&'static str>; 2] {
        let [mut taken, mut waiting] = [Vec::new(), Vec::new()];
        for key in self.keys {
            let differs = self.effective(key).values != now.effective(key).values;
            let names = if key.reloads { &mut taken } else { &mut waiting };
            names.extend(differs.then_some(key.name));
            if !key.reloads {
                now.given.remove(key.name);
                let before = self.given.remove_entry(key.name);
                now.given.extend(before);
            }
        }
        *self = now;
        [taken, waiting]
    }

    /// Parses a setting, or its default, by its field name in [`super::Config`].
    pub(super) fn read<F: Field<T>, T, W: fmt::Display>(
        &self,
        field: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<F, Fault> {
        let key = self.keys.iter().find(|key| key.name == field.replace('_', "-"));
        let key = key.ok_or_else(|| (0, format!("unknown setting {field}")))?;
        let given = self.effective(key);
        let parsed = given.values.iter().map(|value| {
            parse(value).map_err(|want| {
                let value = without_password(value);
                (given.line, format!("{} '{value}': want {want}", given.origin))
            })
        });
        F::collect(parsed.collect::<Result<_, _>>()?)
            .map_err(|what| (given.line, format!("{}{what}", given.origin)))
    }
}

/// Variables that are ignored without a warning: those passed to alert commands, which may run this program,
/// and those of the build and the tests.
const OTHERS: &[&str] = &[
    "HTTP_TRACE_ALERT_STATE", "HTTP_TRACE_BIN", "HTTP_TRACE_BPF_CARGO", "HTTP_TRACE_BPF_OBJECT",
    "HTTP_TRACE_BPF_RUSTC", "HTTP_TRACE_MESSAGE", "HTTP_TRACE_REQUIRE_BPF", "HTTP_TRACE_SEVERITY",
];

/// The variables that are settings, and warnings.
type Environment = (BTreeMap<String, String>, Vec<String>);

/// Returns the non-empty variables that are settings, and warnings about others with our prefix. Settings that are not
/// UTF-8 are an error.
pub fn environment(
    keys: &[Key],
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Environment, String> {
    let (mut settings, mut warnings) = (BTreeMap::new(), Vec::new());
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|n| n.starts_with("HTTP_TRACE_")) else {
            continue;
        };
        let key = name["HTTP_TRACE_".len()..].to_ascii_lowercase().replace('_', "-");
        let known = keys.iter().any(|key| key.variable() == name);
        if !known && name != "HTTP_TRACE_CONFIG" {
            if !OTHERS.contains(&name) {
                let near = nearest(&key, keys.iter().map(|key| key.name), 3);
                let near = near.and_then(|near| keys.iter().find(|key| key.name == near));
                let variable = |near: &Key| format!("; did you mean {}?", near.variable());
                let near = near.map_or_else(String::new, variable);
                warnings.push(format!("{name} ignored: unknown setting{near}"));
            }
            continue;
        }
        match value.into_string() {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                settings.insert(name.to_owned(), value);
            }
            Err(value) => {
                let value = value.as_encoded_bytes().escape_ascii();
                return Err(format!("{name} '{value}': want UTF-8"));
            }
        }
    }
    Ok((settings, warnings))
}

/// Splits at commas outside braces (`{a,b}` is one glob) if the shape is a list.
fn cut(shape: Shape, text: &str) -> Vec<String> {
    match (shape, text.trim()) {
        (Shape::List, text) => filters::cut(text),
        (_, "") => Vec::new(),
        (_, text) => vec![text.to_owned()],
    }
}

/// Why others than this user could write a file or replace it, and so choose the commands that run.
fn untrusted(path: &Path) -> Option<String> {
    #[cfg(target_os = "linux")]
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(path).ok().filter(|of| of.is_file())?;
    let mode = about.permissions().mode() & 0o7777;
    let name = path.display();
    if mode & 0o022 != 0 {
        return Some(format!(
            "other users can write to it (mode {mode:o}); run `chmod go-w {name}`"
        ));
    }
    #[cfg(target_os = "linux")]
    if let Some(why) = owned_by_others(about.uid(), path) {
        return Some(why);
    }
    // A link is replaced where it points.
    let real = std::fs::canonicalize(path).ok()?;
    let folder = real.parent()?;
    let mode = std::fs::metadata(folder).ok()?.permissions().mode() & 0o7777;
    // In a folder with the sticky bit only the owner of a file replaces it.
    (mode & 0o022 != 0 && mode & 0o1000 == 0).then(|| {
        let folder = folder.display();
        format!("other users can replace it in {folder} (mode {mode:o}); run `chmod go-w {folder}`")
    })
}

/// Why the owner of a file is not trusted with it.
#[cfg(target_os = "linux")]
fn owned_by_others(uid: u32, path: &Path) -> Option<String> {
    let own = rustix::process::geteuid().as_raw();
    // Whoever may use sudo is trusted with root's commands.
    let sudo = std::env::var("SUDO_UID").ok();
    let is_trusted = uid == 0 || uid == own || sudo.is_some_and(|sudo| sudo == uid.to_string());
    (!is_trusted).then(|| {
        let name = path.display();
        format!("it belongs to user id {uid}; run `chown {own} {name}`")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::config::KEYS;

    fn gather(
        typed: Vec<(&'static str, Vec<String>)>,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Layers, String> {
        let layers = Layers::gather(KEYS, typed, environment, file)?;
        match layers.faults.is_empty() {
            true => Ok(layers),
            false => Err(joined(layers.faults)),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let file = file("quiet = true\n");
        for (mode, refused) in [(0o600, false), (0o644, false), (0o664, true), (0o602, true)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), permissions).expect("set");
            let got = gather(vec![], &|_| None, Some(file.path()));
            let why = got.err().map(|error| error.to_string());
            assert_eq!(why.is_some(), refused, "{mode:o}");
            assert!(why.is_none_or(|why| why.contains("; run `chmod go-w ")));
        }
    }

    #[test]
    fn a_file_that_others_can_replace_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inner, link) = (folder.path().join("in"), folder.path().join("link.toml"));
        std::fs::create_dir(&inner).expect("made");
        let file = inner.join("c.toml");
        std::fs::write(&file, "quiet = true\n").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        for (mode, refused) in [(0o755, false), (0o777, true), (0o775, true), (0o1777, false)] {
            std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(mode)).expect("set");
            for path in [&file, &link] {
                let got = gather(vec![], &|_| None, Some(path));
                let why = got.err().map(|error| error.to_string());
                assert_eq!(why.is_some(), refused, "{mode:o}: {why:?}");
            }
        }
        // Only root can give files away.
        if std::os::unix::fs::chown(&file, Some(4321), None).is_ok() {
            let why = gather(vec![], &|_| None, Some(&file)).err().map(|e| e.to_string());
            assert!(why.is_some_and(|why| why.contains("belongs to user id 4321")));
        }
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
        let got = gather(typed, &environment, Some(file.path())).expect("gathers");
        let values = |name| got.given(name).map(|g| g.values.join("|"));
        assert_eq!(values("status").as_deref(), Some("404|5xx"));
        assert_eq!(values("method").as_deref(), Some("PUT"));
        assert_eq!(values("port").as_deref(), Some("80|443-445"));
        assert_eq!(values("quiet").as_deref(), Some("true"));
        assert_eq!(values("host"), None);
    }

    #[test]
    fn what_is_read_again_is_taken_but_for_what_needs_a_restart() {
        let of_file = file("status = '4xx'\nhook = 'xdp'\nhost = 'a'\nport = 80\n");
        let typed = vec![("host", vec!["b".to_owned()])];
        let mut layers = gather(typed, &|_| None, Some(of_file.path())).expect("gathers");
        let values = |layers: &Layers, name| {
            let key = KEYS.iter().find(|key| key.name == name).expect("a key");
            layers.effective(key).values.join("|")
        };
        for (text, taken, waiting, expected) in [
            ("status = '5xx'\nhook = 'xdp'\nport = 80", &["status"][..], &[][..], "5xx"),
            ("path = '/a'\nport = 81\nhost = 'c'", &["status", "path"], &["hook", "port"], ""),
            ("path = '/a'\nport = 81\nhook = 'xdp'", &[], &["port"], ""),
        ] {
            std::fs::write(of_file.path(), text).expect("written");
            let now = layers.again(&|_| None).expect("gathers");
            let [were_taken, wait] = layers.take(now);
            let sorted = |mut names: Vec<_>| {
                names.sort_unstable();
                names
            };
            assert_eq!(sorted(were_taken), sorted(taken.to_vec()), "{text}");
            assert_eq!(sorted(wait), sorted(waiting.to_vec()), "{text}");
            assert_eq!(values(&layers, "status"), expected, "{text}");
            assert_eq!(values(&layers, "hook"), "xdp", "{text}");
            assert_eq!(values(&layers, "port"), "80", "{text}");
            assert_eq!(values(&layers, "host"), "b", "{text}");
        }
        std::fs::write(of_file.path(), "stauts = 1").expect("written");
        let now = layers.again(&|_| None).expect("gathers");
        assert!(now.faults[0].1.contains("unknown key 'stauts'"), "{:?}", now.faults);
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
        let (settings, said) = environment(KEYS, given.into_iter()).expect("text");
        let names: Vec<&String> = settings.keys().collect();
        assert_eq!(names, ["HTTP_TRACE_CONFIG", "HTTP_TRACE_STATUS"]);
        assert_eq!(
            said,
            [
                "HTTP_TRACE_STAUTS ignored: unknown setting; did you mean HTTP_TRACE_STATUS?",
                "HTTP_TRACE_SOMETHING_ELSE ignored: unknown setting",
            ]
        );
        let odd = OsString::from_vec(b"caf\xe9".to_vec());
        let error = environment(KEYS, [("HTTP_TRACE_HOST".into(), odd)].into_iter());
        assert_eq!(error.expect_err("no text"), r"HTTP_TRACE_HOST 'caf\xe9': want UTF-8");
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
            let error = gather(vec![(name, typed)], &|_| None, None).expect_err(name);
            let error = error.to_string();
            assert!(error.starts_with(&format!("--{name} '")), "{error}");
            assert!(error.contains("the value is empty"), "{error}");
        }
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_wrong() {
        for (text, expected) in [
            ("stauts = 404", "unknown key 'stauts'; did you mean 'status'?"),
            (
                "nonsense_of_length = 404",
                "unknown key 'nonsense_of_length'; every option is a key: see",
            ),
            ("state_ = 404", "unknown key 'state_'; did you mean 'state'?"),
            ("mute = true", "unknown key 'mute'; every option is a key: see"),
            (
                "rotate = '1M'",
                "'rotate'; it is an option of an output: output = \"json:FILE,rotate=",
            ),
            ("status = ", "is not valid TOML"),
            ("detect = 3", ": detect: want a table ([detect])"),
            (
                "[status]\nx = 1",
                ":1: status: want text, an integer, true or false, or a list of them, not a table",
            ),
            (
                "quiet = true\nstatus = 1.5",
                ":2: status: want text, an integer, true or false, or a list of them, not floating",
            ),
        ] {
            let file = file(text);
            let error =
                gather(Vec::new(), &|_| None, Some(file.path())).expect_err("refused").to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(error.contains(&file.path().display().to_string()), "{text:?}: {error}");
        }
    }

    #[test]
    fn lists_are_cut_at_commas_outside_of_braces() {
        for (shape, text, expected) in [
            (Shape::List, "a, b,,c", vec!["a", "b", "c"]),
            (Shape::List, "*.{a,b}.example,c", vec!["*.{a,b}.example", "c"]),
            (Shape::Whole, "a, b", vec!["a, b"]),
            (Shape::One, " 3 ", vec!["3"]),
            (Shape::One, "", vec![]),
        ] {
            assert_eq!(cut(shape, text), expected, "{text:?}");
        }
    }
}
