//! Text in the columns of a terminal: how wide it is, cut, padded and wrapped. Escapes nothing.

/// Columns that a text takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Columns of a character: two of those of East Asian scripts and of emoji (Unicode Standard Annex 11, wide and
/// fullwidth), none of combining ones.
fn width(c: char) -> usize {
    match u32::from(c) {
        0..0x300 => 1,
        0x300..=0x36f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

/// Cut to `most` columns, with an ellipsis in place of the end.
pub fn cut(text: &str, most: usize) -> String {
    cut_to(text, most, |_| 0)
}

/// Cut to `most` columns, with an ellipsis in place of the beginning: at the end of an endpoint is its port.
pub fn cut_front(text: &str, most: usize) -> String {
    cut_to(text, most, |room| room)
}

/// Cut to `most` columns, with an ellipsis in place of the middle: both ends of an address tell it from others.
pub fn cut_middle(text: &str, most: usize) -> String {
    cut_to(text, most, |room| room / 2)
}

/// `of_end` are the columns of the end that stay, of those that the ellipsis leaves.
fn cut_to(text: &str, most: usize, of_end: fn(usize) -> usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let mut out = beginning(text.chars(), room - of_end(room));
    out.push('…');
    let end = beginning(text.chars().rev(), of_end(room));
    out.extend(end.chars().rev());
    out
}

fn beginning(chars: impl Iterator<Item = char>, most: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += width(*c);
        used <= most
    };
    chars.take_while(fits).collect()
}

/// With blanks behind it, to fill `least` columns.
pub fn padded(mut text: String, least: usize) -> String {
    let missing = least.saturating_sub(columns(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Rows as lines whose cells are as wide as the widest of their column and two blanks apart, without blanks at the
/// end. The columns that are `right` end with their cells.
pub fn aligned(rows: &[Vec<String>], right: impl Fn(usize) -> bool) -> Vec<String> {
    let width = |at: usize| rows.iter().map(|row| columns(&row[at])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let missing = " ".repeat(width - columns(cell));
            let gap = if at > 0 { "  " } else { "" };
            let [before, after] = if right(at) { [&missing, ""] } else { ["", &missing] };
            line.extend([gap, before, cell, after]);
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

/// Broken between words into lines of at most `width` columns: the first has `used` of them before it, the others
/// begin with `indent` blanks. A word that fills more than a line is not broken; lines of the text stay lines.
pub fn wrapped(text: &str, width: usize, used: usize, indent: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = used;
    for (nth_line, line) in text.split('\n').enumerate() {
        if nth_line > 0 {
            out.push('\n');
            at = 0;
        }
        let mut blanks = 0;
        for (nth, word) in line.split(' ').enumerate() {
            blanks += usize::from(nth > 0);
            if word.is_empty() {
                continue;
            }
            let wide = columns(word);
            if blanks > 0 && at + blanks + wide > width && at > indent {
                out.push('\n');
                at = 0;
                blanks = indent;
            }
            out.extend(std::iter::repeat_n(' ', blanks));
            out.push_str(word);
            at += blanks + wide;
            blanks = 0;
        }
        out.extend(std::iter::repeat_n(' ', blanks));
    }
    out
}

/// Text for a terminal of `width` columns: a line with columns of its own goes on below its second one.
pub fn wrapped_columns(text: &str, width: usize) -> String {
    let wrap = |line: &str| {
        let first = line.trim_start();
        let second = first.find("  ").map(|end| first[end..].trim_start());
        let indent = second.map_or(0, |second| columns(line) - columns(second));
        let indent = if indent <= width / 2 { indent } else { 2 };
        wrapped(line, width, 0, indent)
    };
    text.split('\n').map(wrap).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_wrapped_below_their_second_column() {
        let text = "of        a b c d e f g\n  list  one    two three\n\nplain words that go on\n";
        let expected = "of        a b c d e\n          f g\n  list  one    two\n        three\n\n\
                        plain words that go\non\n";
        assert_eq!(wrapped_columns(text, 20), expected);
        assert_eq!(wrapped_columns(text, 80), text);
        let wide = format!("{}  high  each  a title of some words", "x".repeat(15));
        let narrow = format!("{}\n  high  each  a\n  title of some\n  words", "x".repeat(15));
        assert_eq!(wrapped_columns(&wide, 18), narrow);
    }

    #[test]
    fn characters_have_columns() {
        for (text, expected) in
            [("", 0), ("/a→b…", 5), ("日本", 4), ("e\u{301}", 1), ("🦀", 2), ("é", 1)]
        {
            assert_eq!(columns(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_says_so_and_fits() {
        assert_eq!(cut("/a/b", 4), "/a/b");
        assert_eq!(cut("/a/b/c", 4), "/a/…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut_front("shop.example:80", 8), "…mple:80");
        assert_eq!(cut_middle("2001:db8::1", 20), "2001:db8::1");
        assert_eq!(cut_middle("2001:db8:1:2:3:4:5:6", 12), "2001:d…4:5:6");
        assert_eq!(padded("日".to_owned(), 4), "日  ");
    }

    #[test]
    fn cells_line_up() {
        let rows =
            [["日", "1", "a"], ["ab…", "1,204", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows, |at| at == 1), ["日       1  a", "ab…  1,204"]);
        assert_eq!(aligned(&[], |_| false), [""; 0]);
    }

    #[test]
    fn lines_break_between_words() {
        for (text, width, used, expected) in [
            ("one two three", 80, 0, "one two three"),
            ("one two three", 7, 0, "one two\n  three"),
            ("one two three", 9, 2, "one two\n  three"),
            ("one two", 7, 6, "one\n  two"),
            ("a muchtoolongword b", 8, 0, "a muchtoolongword\n  b"),
            ("", 8, 0, ""),
            ("one two\nthree four", 8, 1, "one two\nthree\n  four"),
        ] {
            assert_eq!(wrapped(text, width, used, 2), expected);
        }
    }
}
