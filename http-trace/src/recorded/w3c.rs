//! The extended log format of the W3C, as IIS and Amazon CloudFront write it: a `#Fields:` line names the columns of those
//! after it. Values that are not known are `-`.

use percent_encoding::percent_decode;

use super::parts::{
    Client, Line, address, answered, line_of, logged_status, of_client, port, request, time,
};
use http_trace_model::event::Endpoint;
use http_trace_model::field::draft::basic;
use http_trace_model::head::RequestHead;

/// The columns that the last `#Fields:` named.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    fields: Vec<String>,
    /// CloudFront encodes percent signs and blanks of what it logs, IIS writes `+` for a blank.
    is_encoded: bool,
}

/// The columns, if the line names them.
pub(super) fn columns(line: &[u8]) -> Option<Columns> {
    let names = String::from_utf8_lossy(line.strip_prefix(b"#Fields:")?).to_ascii_lowercase();
    let fields: Vec<_> = names.split_ascii_whitespace().map(str::to_owned).collect();
    let is_encoded = fields.iter().any(|field| field == "x-edge-location");
    Some(Columns { fields, is_encoded })
}

impl Columns {
    /// Parses a line of values.
    pub(super) fn event(&self, line: &[u8]) -> Result<Line, String> {
        let is_blank = |byte: &&u8| matches!(byte, b'\t' | b' ');
        let by = *line.iter().find(is_blank).unwrap_or(&b' ');
        let values: Vec<&[u8]> = line.trim_ascii_end().split(|byte| *byte == by).collect();
        let (got, want) = (values.len(), self.fields.len());
        if self.fields.iter().any(|field| field == "x-session") {
            return Err("a log of FTP or mail, not of HTTP".to_owned());
        }
        if got != want {
            return Err(format!("{got} columns of {want} in a record of a W3C log"));
        }
        let cell = |names: &[&str]| {
            let column = |name: &&str| self.fields.iter().position(|field| field == name);
            let mut found = names.iter().filter_map(|name| values.get(column(name)?));
            let value = found.find(|value| !matches!(**value, b"" | b"-"))?;
            Some(if self.is_encoded { percent_decode(value).collect() } else { value.to_vec() })
        };
        let text = |names: &[&str]| cell(names).and_then(|value| String::from_utf8(value).ok());
        let number = |name: &str| text(&[name]).and_then(|text| text.parse::<u64>().ok());
        let wrong = |what: &str| format!("missing or invalid {what} in a record of a W3C log");

        let when = text(&["date"]).zip(text(&["time"]));
        let when = when.and_then(|(date, at)| time(&format!("{date}T{at}Z")));
        let time_ns = when.ok_or_else(|| wrong("date and time"))?;
        let client = text(&["c-ip"]).as_deref().and_then(address);
        let client = client.ok_or_else(|| wrong("c-ip"))?;
        let code = number("sc-status").and_then(|code| logged_status(code, None));
        let code = code.ok_or_else(|| wrong("sc-status"))?;
        for name in ["cs-method", "cs-uri-stem"] {
            if !self.fields.iter().any(|field| field == name) {
                return Err(wrong(name));
            }
        }

        let mut event = of_client(Client::Ip(client), time_ns);
        event.client.port = port(number("c-port"));
        if let Some(ip) = text(&["s-ip"]).as_deref().and_then(address) {
            event.server = Endpoint { ip, port: port(number("s-port")) };
        }
        let version = text(&["cs-version", "cs-protocol-version"]).unwrap_or_default();
        event.request = self.request(cell, &version);
        let kind = cell(&["sc-content-type", "sc(content-type)"]);
        answered(&mut event, code, &version, &[("content-type", kind.as_deref())]);
        event.response_bytes = number("sc-bytes").filter(|_| code.is_some());
        Ok(line_of(event))
    }

    /// The request, from the cells of a record.
    fn request(
        &self,
        cell: impl Fn(&[&str]) -> Option<Vec<u8>>,
        version: &str,
    ) -> Option<RequestHead> {
        let (method, mut target) = (cell(&["cs-method"])?, cell(&["cs-uri-stem"])?);
        if let Some(query) = cell(&["cs-uri-query"]) {
            target.push(b'?');
            target.extend(query);
        }
        let mut agent = cell(&["cs(user-agent)"]);
        let mut forwarded = cell(&["x-forwarded-for", "cs(x-forwarded-for)"]);
        let with_blanks = agent.iter_mut().chain(&mut forwarded).filter(|_| !self.is_encoded);
        for byte in with_blanks.flatten().filter(|byte| **byte == b'+') {
            *byte = b' ';
        }
        let host = cell(&["x-host-header", "cs-host", "cs(host)"]);
        let (referer, cookie) = (cell(&["cs(referer)"]), cell(&["cs(cookie)"]));
        let user = cell(&["cs-username"]).map(|user| basic(&user));
        let fields = [
            ("host", host.as_deref()),
            ("referer", referer.as_deref()),
            ("user-agent", agent.as_deref()),
            ("cookie", cookie.as_deref()),
            ("authorization", user.as_deref()),
            ("x-forwarded-for", forwarded.as_deref()),
        ];
        Some(request(&method, &target, version, &fields))
    }
}
