//! Paths without what differs from one to the next: `/users/17` and `/users/18` are `/users/{id}`. A function
//! of the path alone, so that the same path has the same template in every run.

/// How paths are folded.
#[derive(Clone, Debug, Default)]
pub struct Templates {
    /// The user's, in segments: what is in braces stands for any one.
    own: Vec<Vec<String>>,
}

impl Templates {
    /// With these, which come first: `/users/{name}/posts`.
    pub fn new(own: &[String]) -> Self {
        let segments = |template: &String| template.split('/').map(str::to_owned).collect();
        Templates {
            own: own.iter().map(segments).collect(),
        }
    }

    /// The template of a path.
    pub fn of(&self, path: &str) -> String {
        let segments: Vec<&str> = path.split('/').collect();
        let is_it = |own: &&Vec<String>| {
            own.len() == segments.len()
                && own
                    .iter()
                    .zip(&segments)
                    .all(|(own, segment)| own == segment || is_open(own))
        };
        if let Some(own) = self.own.iter().find(is_it) {
            return own.join("/");
        }
        let folded = segments
            .iter()
            .map(|segment| match segment.split_once('.') {
                Some(_) => segment
                    .split('.')
                    .map(|part| kind(part, 8).unwrap_or(part))
                    .collect::<Vec<_>>()
                    .join("."),
                None => kind(segment, 16).unwrap_or(segment).to_owned(),
            });
        folded.collect::<Vec<_>>().join("/")
    }
}

fn is_open(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

/// What stands for a segment, or a part of a file's name, that differs: of hexadecimal digits from this many on.
fn kind(text: &str, hex: usize) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let is_hex = bytes.iter().all(u8::is_ascii_hexdigit);
    if digits == 0 {
        return None;
    }
    if digits == bytes.len() && bytes.len() <= 20 {
        // One digit in a file's name is part of it: jquery.3.min.js.
        return (hex >= 16 || digits > 2).then_some("{id}");
    }
    if is_like(bytes, b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
        return Some("{uuid}");
    }
    if is_like(bytes, b"0000-00-00") {
        return Some("{date}");
    }
    if is_hex && bytes.len() >= hex {
        return Some("{hash}");
    }
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'=');
    let has = |of: fn(&u8) -> bool| bytes.iter().any(of);
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && digits > 1;
    (bytes.len() >= 20 && bytes.iter().all(is_token) && is_mixed).then_some("{token}")
}

/// Whether a text has this shape: `x` is a hexadecimal digit, `0` a decimal one.
fn is_like(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_folded() {
        let templates = Templates::new(&["/users/{name}/posts".to_owned()]);
        for (path, expected) in [
            ("/", "/"),
            ("/cart/7", "/cart/{id}"),
            ("/cart/7/items/19", "/cart/{id}/items/{id}"),
            ("/v1/users", "/v1/users"),
            ("/o/123e4567-e89b-12d3-a456-426614174000", "/o/{uuid}"),
            ("/log/2026-11-20", "/log/{date}"),
            (
                "/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "/blob/{hash}",
            ),
            ("/static/app.3f2a9c1b.js", "/static/app.{hash}.js"),
            ("/static/jquery.3.min.js", "/static/jquery.3.min.js"),
            ("/i/dQw4w9WgXcQ4dQw4w9WgXcQ", "/i/{token}"),
            (
                "/a-long-name-of-an-article-2",
                "/a-long-name-of-an-article-2",
            ),
            ("/users/anna/posts", "/users/{name}/posts"),
            ("/users/anna", "/users/anna"),
            ("/deadbeef", "/deadbeef"),
            ("", ""),
        ] {
            assert_eq!(templates.of(path), expected, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_template_is_its_own(path in "(/[a-zA-Z0-9.{}-]{0,40}){0,4}") {
            let templates = Templates::default();
            let once = templates.of(&path);
            proptest::prop_assert_eq!(templates.of(&once), once);
        }
    }
}
