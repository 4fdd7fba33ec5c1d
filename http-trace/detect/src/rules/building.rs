//! A rule set under construction: rules with their documents and diagnostics. Knows nothing of
//! conditions and counts.

use super::diagnose::{Diagnostic, Fault, Finding, did_you_mean};
use super::document::Document;
use crate::rule::{Origin, Rule, RuleSet};

/// The rules so far.
pub(super) struct Building<'a> {
    pub rules: RuleSet,
    pub diagnostics: Vec<Diagnostic>,
    pub documents: Vec<Document<'a>>,
    /// Built-in rules that are added later, whose ids are taken nevertheless.
    pub reserved: Vec<Rule>,
    disabled: &'a dyn Fn(&str) -> bool,
}

impl<'a> Building<'a> {
    pub fn new(disabled: &'a dyn Fn(&str) -> bool) -> Self {
        Building {
            rules: RuleSet::default(),
            diagnostics: Vec::new(),
            documents: Vec::new(),
            reserved: Vec::new(),
            disabled,
        }
    }

    pub fn add(&mut self, document: Document<'a>, rule: Rule) {
        self.documents.push(document);
        self.rules.add(rule);
    }

    /// Reports findings about a document, ordered by position.
    pub fn report(&mut self, document: Document<'a>, findings: Vec<Finding>) {
        let located = findings.into_iter().map(|finding| document.locate(finding));
        let mut located: Vec<Diagnostic> = located.collect();
        located.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        located.dedup();
        self.diagnostics.append(&mut located);
    }

    pub fn is_disabled(&self, id: &str) -> bool {
        (self.disabled)(id)
    }

    pub fn disables(&self, rule: &Rule) -> bool {
        self.is_disabled(&rule.id) || rule.uuid.as_deref().is_some_and(self.disabled)
    }

    /// The rule with this id, UUID or title.
    pub fn find(&self, name: &str) -> Option<usize> {
        let titled = || self.rules.rules.iter().position(|rule| rule.title == name);
        self.rules.find(name).or_else(titled)
    }

    /// Message for a name that no loaded rule has.
    pub fn unknown(&self, name: &str) -> String {
        let near = did_you_mean(self.rules.nearest(name));
        format!("'{name}' is not a loaded rule{near}")
    }

    /// An error if another rule has the same id.
    pub fn taken(&self, rule: &Rule) -> Option<Finding> {
        let added = self.rules.find(&rule.id).map(|at| &*self.rules.rules[at]);
        let is_own = matches!(rule.origin, Origin::File(_));
        let mut reserved = self.reserved.iter().filter(|_| is_own);
        let first = added.or_else(|| reserved.find(|first| first.id == rule.id))?;
        let (id, origin) = (&first.id, &first.origin);
        let remedy = match origin {
            Origin::BuiltIn(_) => format!(
                ": rename this rule, or disable the other with --disable-rule {id} (all built-in \
                 rules with --no-builtin-rules)"
            ),
            Origin::File(_) => String::new(),
        };
        let why = format!("'{id}' is already defined at {origin}:{}{remedy}", first.line);
        Some(Finding::error(&rule.id, why))
    }
}

pub(super) fn loads(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.fault != Fault::Error)
}
