//! The forms of a report. Opens no file.

use crate::html::html;
use crate::inventory::Report;
use crate::tables::{allow_list, markdown, text};

http_trace_model::named_enum! {
    /// Output form of a report.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Form {
        /// Text tables for a terminal.
        Table = "table",
        Markdown = "markdown",
        /// A single JSON object.
        Json = "json",
        /// A self-contained HTML page.
        Html = "html",
        /// The endpoints that answered with success, one per line, in the format that `--known` reads.
        Allow = "allow",
    }
}

impl Form {
    /// Looks up a form by its name or file extension.
    pub fn of(word: &str) -> Option<Form> {
        match word {
            "txt" => Some(Form::Table),
            "md" => Some(Form::Markdown),
            name => Form::named(name),
        }
    }

    /// Renders the report; tables are fitted to `width` columns where possible.
    pub fn write(self, report: &Report, width: Option<usize>) -> String {
        match self {
            Form::Table => text(report, width),
            Form::Markdown => markdown(report),
            // Serialising a report cannot fail.
            Form::Json => serde_json::to_string_pretty(report).unwrap_or_default() + "\n",
            Form::Html => html(report),
            Form::Allow => allow_list(report),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Inventory, Options};
    use http_trace_samples as testing;

    #[test]
    fn a_table_fits_a_terminal() {
        let text = Form::Table.write(&hostile(), Some(80));
        for line in text.lines() {
            assert!(line.chars().count() <= 80 || !line.contains("  "), "{line}");
        }
    }

    fn hostile() -> Report {
        let mut inventory = Inventory::new(Options::default());
        for (target, status) in [("/<script>alert(1)</script>|`*_[x](y)", 200), ("/a'\"&b", 500)] {
            inventory.event(&testing::event_of(
                testing::request(&format!("GET {target} HTTP/1.1\r\nHost: a<b>\r\n\r\n")),
                testing::response(&format!("HTTP/1.1 {status} x\r\n\r\n")),
            ));
        }
        inventory.report()
    }

    #[test]
    fn what_came_from_the_network_is_only_text() {
        let page = Form::Html.write(&hostile(), None);
        assert!(!page.contains("<script") && !page.contains("a<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("<svg"));
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "it needs nothing beside it"
        );
        let text = Form::Markdown.write(&hostile(), None);
        let row = text.lines().find(|line| line.contains("alert(1)")).expect("a row");
        assert!(row.contains(r"\|\`\*\_\[x\](y)") && !row.contains('<'), "{row}");
    }

    #[test]
    fn every_form_tells_every_endpoint() {
        let report = hostile();
        for (form, ending) in Form::ALL.into_iter().zip(["txt", "md", "json", "html", "allow"]) {
            let name = form.name();
            assert_eq!((Form::of(name), Form::of(ending)), (Some(form), Some(form)));
            let text = form.write(&report, None);
            assert!(text.contains("alert(1)"), "{name}: {text}");
            let has_failed = text.contains("&b") || text.contains("&amp;b");
            assert_eq!(has_failed, form != Form::Allow, "{name}: {text}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&Form::Json.write(&report, None)).expect("JSON");
        assert_eq!(json["endpoints"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn nothing_is_a_report_too() {
        let report = Inventory::new(Options::default()).report();
        for form in Form::ALL {
            assert!(!form.write(&report, None).is_empty(), "{form:?}");
        }
    }

    #[test]
    fn input_that_was_not_read_is_told() {
        let mut inventory = Inventory::new(Options::default());
        let text = |inventory: &Inventory| Form::Table.write(&inventory.report(), None);
        assert!(!text(&inventory).contains("not read "));
        inventory.unread(1_204, 2);
        let text = text(&inventory);
        for expected in ["malformed lines: 1,204", "files, whole or in part: 2"] {
            assert!(text.contains(&format!("not read        {expected}")), "{text}");
        }
    }

    #[test]
    fn what_was_not_readable_is_told_within_bounds() {
        let mut inventory = Inventory::new(Options::default());
        let text = |inventory: &Inventory| Form::Table.write(&inventory.report(), None);
        assert!(text(&inventory).contains("other protocols nothing"));
        for port in 1..=200 {
            inventory.unreadable("TLS", port, u64::from(port == 7) * 1000 + 1);
        }
        inventory.unreadable(&"x".repeat(1000), 1, u64::MAX - 5);
        assert_eq!(inventory.report().unreadable.len(), 65);
        assert!(inventory.report().unreadable.keys().all(|what| what.len() < 40));
        let text = text(&inventory);
        assert!(text.contains("other, 1,001 TLS on :7, 1 TLS on :1,"), "{text}");
        assert!(text.contains("59 more kinds (connections)"), "{text}");
    }
}
