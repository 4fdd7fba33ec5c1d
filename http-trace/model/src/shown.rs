//! Formats numbers for people: in summaries, on terminals and in reports. Machine-readable
//! output uses plain numbers.

/// With thousands separators: `1,204`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in ns with two or three digits and a unit: `1.2 ms`.
pub fn latency(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let decimals = usize::from(value < 10.0);
    format!("{value:.decimals$} {unit}")
}

/// A duration in seconds with its two largest units: `42s`, `1h 5m`, `3d`.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let at = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, name) = UNITS[at];
    let mut text = format!("{}{name}", seconds / unit);
    if let Some((smaller, name)) = UNITS.get(at + 1)
        && seconds % unit / smaller > 0
    {
        text.push_str(&format!(" {}{name}", seconds % unit / smaller));
    }
    text
}

/// A size in bytes: `512 B`, `2.4 KiB`.
pub fn size(bytes: u64) -> String {
    let (value, unit) = match bytes {
        0..10_000 => return format!("{bytes} B"),
        10_000..10_485_760 => (bytes as f64 / 1024.0, "KiB"),
        10_485_760..10_737_418_240 => (bytes as f64 / 1_048_576.0, "MiB"),
        _ => (bytes as f64 / 1_073_741_824.0, "GiB"),
    };
    format!("{value:.1} {unit}")
}
