//! Summaries of alerts: text with `{{field}}` placeholders. The filled-in values come from the
//! network; the writer must escape them.

use super::field::Field;

/// A piece of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Literal text from the rule.
    Text(String),
    /// The value of a field; for a server field, of the server with most of the counted events.
    Field(Field),
    Count,
    Distinct,
    Window,
    /// Title of the rule that the event matched, of those that the correlation counts.
    Match,
}

/// Parses a text such as `High number of errors from {{c-ip}}`.
///
/// # Errors
/// An unclosed placeholder, or a name that is neither a field nor `count`, `distinct`, `window` or `match`.
pub fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            return Err("a '{{' without a matching '}}'".to_owned());
        };
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(match name.trim() {
            "count" => Part::Count,
            "distinct" => Part::Distinct,
            "window" => Part::Window,
            "match" => Part::Match,
            name => {
                Part::Field(Field::named(name).ok_or_else(|| format!("unknown field '{name}'"))?)
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let text = |t: &str| Part::Text(t.to_owned());
        for (template, expected) in [
            ("plain", Ok(vec![text("plain")])),
            (
                "from {{c-ip}} to {{ s-ip }}: {{count}}",
                Ok(vec![
                    text("from "),
                    Part::Field(Field::ClientIp),
                    text(" to "),
                    Part::Field(Field::ServerIp),
                    text(": "),
                    Part::Count,
                ]),
            ),
            ("{{nothing}}", Err("unknown field 'nothing'".to_owned())),
            ("{{c-ip", Err("a '{{' without a matching '}}'".to_owned())),
        ] {
            assert_eq!(parse(template), expected, "{template}");
        }
    }
}
