//! Lists of endpoints, one a line: `GET shop.example /cart/{id}`. What a report writes as its allow list, the
//! next one takes as what is known. Opens no file.

use std::collections::HashSet;

/// Endpoints that are known.
#[derive(Clone, Debug, Default)]
pub struct Known {
    lines: HashSet<[String; 3]>,
}

impl Known {
    /// Of a list; `#` begins a comment, and `*` stands for any method or any service.
    ///
    /// # Errors
    /// The number of a line that is none, and what it should be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [method, service, template] = words[..] else {
                return Err(format!(
                    "line {}: want METHOD SERVICE PATH, such as 'GET shop.example /cart/{{id}}'",
                    at + 1
                ));
            };
            lines.insert([method, service, template].map(str::to_owned));
        }
        Ok(Known { lines })
    }

    /// Whether an endpoint is one of them.
    pub fn has(&self, method: &str, service: &str, template: &str) -> bool {
        let any = "*";
        [(method, service), (any, service), (method, any), (any, any)]
            .into_iter()
            .any(|(method, service)| {
                self.lines
                    .contains(&[method, service, template].map(str::to_owned))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_endpoints() {
        let known = Known::parse("# ours\nGET a /b\n\n*  a /c\n * * /healthz\n").expect("a list");
        assert!(known.has("GET", "a", "/b") && !known.has("POST", "a", "/b"));
        assert!(known.has("PUT", "a", "/c") && !known.has("PUT", "b", "/c"));
        assert!(known.has("HEAD", "x", "/healthz"));
        let error = Known::parse("GET /b").expect_err("two words");
        assert!(
            error.starts_with("line 1: want METHOD SERVICE PATH"),
            "{error}"
        );
    }
}
