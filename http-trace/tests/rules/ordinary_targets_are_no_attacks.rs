//! Targets of ordinary programs that have words of attacks in them raise nothing, or not as attacks that were answered.

use crate::{alerts_of_log, log_line};

const BROWSER: &str = "Mozilla/5.0";

/// Targets that look like attempts, for programs that are asked in a language of their own or show their users' files.
const LANGUAGES: &[&str] = &[
    "/w/api.php?action=query&list=search&srsearch=insource%3A%22SELECT+*+FROM%22&format=json",
    "/issues/?jql=text%20~%20%22%3Cscript%3E%22",
    "/rest/api/content/search?cql=type%3Dpage%20and%20text~%22..%2F..%2Fetc%22",
    "/explore?orgId=1&left=%7B%22expr%22:%22%7Bjob%3D%5C%22a%5C%22%7D%20%7C%3D%20%5C%22%2Fetc%2Fpasswd%5C%22%22%7D",
    "/app/discover?_a=(query:(language:kuery,query:'path:%22/etc/passwd%22'))",
    "/search?search=system(%22ls%22)&group_id=1&scope=blobs",
    "/remote.php/dav/files/anna/projects/site/.env",
    "/api/sources/lines?key=app%3Asrc%2Fmain%2Fwebapp%2FWEB-INF%2Fweb.xml&from=1&to=500",
    "/org/proj/_git/repo?path=%2F.env&version=GBmain&_a=contents",
    "/en/latest/search.html?q=__class__.__name__&check_keywords=yes&area=default",
    "/matomo.php?action_name=SQL%20injection%3A%20%27%20or%201%3D1%20--&idsite=1&url=https%3A%2F%2Fs.example%2Fsql",
    "/graph?g0.expr=avail_bytes%7Bmountpoint%3D%22%2Fetc%2Fhosts%22%7D&g0.tab=1",
    "/query?g0.expr=usage_bytes%7Bdevice%3D%22%2Fetc%2Fresolv.conf%22%7D",
];

/// Not attempts.
const ORDINARY: &[&str] = &[
    "/",
    "/search?q=select+a+gift+from+our+store",
    "/find?jql=created+%3E%3D+%222024/01/01%22+AND+created+%3C%3D+%222024/02/01%22",
    "/find?jql=component+%3D+%22UI/UX%22+AND+status+%3D+Open",
    "/files?q=mimeType%3D%27application/vnd.folder%27+and+name%3D%27x%27",
    "/odata/Items?$filter=(Price+gt+10)+and+(City+in+(%27Bern%27))",
    "/pdfjs/web/viewer.html?file=../../docs/manual.pdf",
    "/_matrix/media/v3/preview_url?url=http%3A%2F%2F192.168.1.5%2Fpage",
    "/job/app/buildWithParameters?TARGET_URL=http://10.0.0.5:8080/&BRANCH=main",
    "/zabbix.php?action=latest.view&name=vfs.file.cksum%5B%2Fetc%2Fpasswd%2Csha256%5D",
    "/gitweb/?p=host.git;a=blob;f=etc/passwd;hb=HEAD",
    "/assets/css/../../../fonts/text.woff2",
    "/join.php?type=css&files=../../base.css,../print.css",
    "/pages/createpage-entervariables.action?templateId=7&spaceKey=DOC",
    "/view.php?id=4&return=../../orders/view.php?id=4",
    "/chart?code=var%20f%20=%20function()%20%7B%20return%201%20%7D",
    "/link?to=https%253A%252F%252Fshop.example%252Fa%2520b%253Fc%253D%25C3%25A9",
    "/search?q=european+union+select+committee",
    "/search?q=rock+and+roll",
    "/search?q=O%27Brien",
    "/a/../b",
    "/login?next=../account",
    "/oauth?redirect_uri=https%3A%2F%2Fapp.example%2Fcallback",
    "/share?u=https%3A%2F%2Fexample.com%2F",
    "/docs/template?name=%7Bid%7D",
    "/.well-known/security.txt",
    "/env",
    "/api/items?filter=price%3E10%26size%3C5",
    "/cart?coupon=50%25off",
    "/wiki/C%2B%2B",
    // Titles, errors that pages report, lists of words, and names of parameters.
    "/share?url=https%3A%2F%2Fx.example%2F&title=Stocks+making+the+biggest+moves+in+the+premarket%3A+McDonald%27s%2C+Tesla%2C+JetBlue%2C+Facebook+%26+more+-+CNBC",
    "/share?url=https%3A%2F%2Fx.example%2F&title=Cup+%7C+Set+-+6+pieces",
    "/matomo.php?idsite=1&rec=1&action_name=Get-Item%20%7C%20PowerShell&url=https%3A%2F%2Fdocs.example%2F",
    "/ec/category/form?parent.id=12&parent.name=%E5%9B%BE%E4%B9%A6",
    "/api/docs?document.name=contract.pdf",
    "/v2/country/my;id;sg/indicator/SP.POP.TOTL?format=json&per_page=100",
    "/api/shipping/rates?country=MY|ID|SG&weight=2",
    "/api/items?fields=name;id;price&limit=10",
    "/api/devices?fields=ip;hostname;status",
    "/api/boxes?dims=l;w;h",
    "/en-US/app/search/search?q=search%20source%3D%2Fvar%2Flog%2Fmessages&earliest=-24h%40h&latest=now",
    "/blog/windows/system32-folder-explained/",
    "/api/items?filter=name%3D%3D%27x%27%3Bonsale%3D%3Dtrue",
    "/en-US/docs/DOM/document.cookie",
    "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig?expiry_seconds=604800",
    "/search?q=%22government%22+shutdown",
    "/quote?price=%24100%20(approx)&qty=2",
    "/lead?contact=call+me+@(123)+456-7890",
    "/directory?filter=(%26(objectClass=person)(%7C(cn=a*)(mail=a*)))",
    "/job/x/api/xml?xpath=count(//build)",
    "/log?level=error&msg=Unexpected+token+%27%3C%27%2C+%22%3C!doctype+%22...+is+not+valid+JSON&page=%2Fcheckout",
    "/phpldapadmin/cmd.php?cmd=template_engine&server_id=1&dn=cn%3Dann%2Cdc%3Dexample%2Cdc%3Dorg",
    "/matomo.php?rec=1&e_n=null%20is%20not%20an%20object%20(evaluating%20%27window.location.href%27)",
    "/matomo.php?rec=1&e_n=document.getElementById(...).innerHTML%20is%20null",
    "/matomo.php?rec=1&url=file:///home/ann/page.html",
    // Legitimate parameters that look like scripts, SQL or commands.
    "/captcha/api.js?onload=ready&render=explicit",
    "/beacon?href=javascript:void(0)&text=Next",
    "/beacon?t=Rock+%27n%27+Roll+%7C+%22Live%22+--+at+Tom%27s&u=javascript:;",
    "/find?jql=project+%3D+%22SHOP%22+AND+status+%3D+%22Open%22+ORDER+BY+rank",
    "/find?jql=assignee+in+(me())+AND+resolution+%3D+None",
    "/odata/Items?$filter=Name+eq+%27tea%27+or+Price+gt+5",
    "/layer/query?where=STATE%3D%27CA%27+AND+POP%3E1000&outFields=*",
    "/layer/query?where=1%3D1&f=json",
    "/rest/services/Plots/FeatureServer/0/query?where=ID+IS+NOT+NULL+and+1%3D1&f=json",
    "/cloud/query?q=SELECT+Id,Name+FROM+Account+WHERE+Name+%3D+%27Acme%27",
    "/loki?query=%7Bapp%3D%22shop%22%7D+%7C%3D+%22failed%22+%7C+json",
    "/prom?query=up%7Bjob%3D%22a%22%7D+and+on(x)+y%7Bz%3D%22b%22%7D+%3D%3D+1",
    "/search?q=%22black+or+white%22+or+%22red%22",
    "/search?q=cats%27+and+dogs%27+food",
    "/search?q=how+to+select+a+union+man+from+the+list",
    "/search?q=1+or+2+bedrooms",
    "/search?q=drop+leaf+table",
    "/search?q=what+is+eval()+in+python",
    "/fonts?family=Sans:ital,wght@0,400;1,600&display=swap",
    "/ad/site;sz=300x250;ord=123?",
    "/api?prop=info|revisions&titles=Cat|Dog|id",
    "/users?age[$gt]=25&sort[id]=-1",
    "/graph?query=%7Buser(id:%221%22)%7Bname%7D%7D",
    "/calc?f=IF(A1%3E9,%22yes%22,%22no%22)",
    "/img?d=data:image/png;base64,iVBORw0KGgo%3D",
    "/docs/etc/hosts-file",
    "/list?q=&id=5&cat=3&set=&type=x&dir=asc",
    "/contact?msg=I%27d+like+2+or+3%3B+thanks!+--+Bob",
    "/feedback?t=1+%3C+2+and+3+%3E+2",
    "/search?q=rock%20'n'%20roll",
    "/search?q=L'Or%C3%A9al%20or%20'Garnier'",
    "/search?q=don't%20AND%20won't",
    "/search?q=union%20select%20committee",
    "/graphql?query={user(id:%221%22){name,friends{name}}}",
    "/graphql?query={users(filter:{name:%22O'Neil%22}){id}}&variables={%22id%22:%225%22}",
    "/api?filter={%22where%22:{%22and%22:[{%22price%22:{%22$gt%22:10}}]}}",
    "/rest/api/2/search?jql=summary%20~%20%22can't%20log%20in%22%20and%20assignee%20=%20currentUser()",
    "/loki/api/v1/query_range?query={app=%22web%22}%20|=%20%22error%22%20|%20json",
    "/api/datasources/proxy/1/query?db=t&q=SELECT%20mean(%22idle%22)%20FROM%20%22cpu%22%20WHERE%20time%20%3E=%20now()",
    "/exec?limit=0%2C1000&explain=true&src=con&query=SELECT%20a%20FROM%20t%20UNION%20ALL%20SELECT%20a%20FROM%20u",
    "/?database=default&query=SELECT%20concat(host%2C%27%3A%27%2Cport)%20FROM%20hits%20WHERE%20host%20IN%20(SELECT%20host%20FROM%20hosts)",
    "/wp-admin/plugin-editor.php?file=hello.php&plugin=hello.php",
    "/wp-admin/load-scripts.php?c=0&load%5Bchunk_0%5D=jquery-core,utils&ver=6.5",
    "/project/-/blob/main/config/database.yml",
    "/oauth/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A43211%2Fcb&state=abc",
    "/x?filters[name][$eq]=a&filters[age][$gt]=4",
    "/rawhide/index.html",
    "/matomo.php?action_name=Home&_cvar={%221%22:[%22x%22,%22y%22]}",
    "/login?redirect_uri=http://127.0.0.1:39123/callback",
    "/login?next=//shop.example/cart",
    "/search?q=R%26D%20set",
    "/search?q=what+is+%2Fetc%2Fpasswd",
    "/wiki/Etc/passwd",
    "/repo/src/branch/main/etc/passwd",
    "/repo/blob/main/.env",
    "/team/repo/raw/main/sql/dump.sql",
    "/repo/blame/main/.htaccess",
    "/collect?url=http://localhost:4200/dashboard",
    "/collect?url=http://192.168.1.5/dashboard",
    "/login?return_url=http://10.0.0.5/app",
    "/authorize?redirect_uri=http://localhost:8080/callback",
    "/search?q=169.254.169.254",
    "/search?lang=en&q=file:///C:/x",
    "/search?q=where+name+%3D+%27x%27+and+age+%3D+5",
    "/search?q=%22red%22+or+%22blue%22+shoes",
    "/releases/shop-1.2.zip",
    "/shop.example.html",
    "/pixel?u=http%3A%2F%2Flocalhost%3A3000%2F&r=",
    "/api?where[status][$ne]=archived&filter[or][0][a]=1",
    "/api?filter=%7B%22age%22:%7B%22$ne%22:null%7D%7D",
    "/search?q=%E4%BD%A0%E5%A5%BD%EF%BC%9B%EF%BC%88id%EF%BC%89",
    "/mail?body=Hello%0D%0A%0D%0AYours%0D%0ABob",
    "/q?tags=jazz|rock'n'roll;punk",
    "/note?text=one%0aidea",
    "/api/items?fields=name|id",
    "/api/items?ids=1|2|3;sort=id",
    "/ping?host=127.0.0.1&type=A",
    "/note?text=one%0Atwo",
    "/a%20b/.environment",
    "/img/%E2%9C%93.png",
    // Names and words of attacks, where they belong.
    "/js/boot.init.js",
    "/api/items?sort=parent.name",
    "/api/items?sort=document.name&dir=asc",
    "/api/items?fields=self.name,top.open",
    "/odata/Items?$orderby=parent.name",
    "/docs/api/child_process.html",
    "/child_process",
    "/docs/api/process.env.html",
    "/reference/java.lang.Class.html",
    "/docs/Object/__proto__",
    "/books/7/META-INF/container.xml",
    "/book/META-INF/encryption.xml",
    "/META-INF/maven/archetype-catalog.xml",
    "/team/shop/src/branch/main/app/WEB-INF/web.xml",
    "/team/shop/src/branch/main/vendor/phpunit/phpunit/composer.json",
    "/team/shop/-/tree/main/WEB-INF/classes",
    "/viewvc/shop/trunk/WEB-INF/web.xml",
    "/probe?target=http://localhost:9090/metrics&module=http_2xx",
    "/probe?module=json&target=http://127.0.0.1:8000/status",
    "/swagger-ui/index.html?url=http://localhost:8080/v3/api-docs",
    "/api/preproc/version",
    "/x/fileproc/self/test",
    "/services/data/v52.0/query?q=SELECT+Id+FROM+Account+WHERE+Name+=+'Acme'+AND+Id+IN+('1','2')",
    "/index.php?do=list&c=user&command=save",
    "/list?c=id&sort=name",
    "/elfinder/connector.php?cmd=ls&target=l1_Lw",
    "/wp-admin/admin-ajax.php?action=mk_file_folder_manager&cmd=ls&target=l1_Lw",
    "/index.php?c=ls",
    "/shop.php?lang=en&c=id",
    "/cgi-bin/man.cgi?command=ls",
    "/man?command=netstat",
    "/download?system=net%204.8",
    "/todo?do=find%20user",
    "/lg.php?command=ping%20192.0.2.1",
    "/explain?cmd=ls%20-la",
    "/results?search_query=edit%20/etc/hosts",
    "/index.php?title=Special:Search&search=edit%20/etc/hosts",
    "/search?q=META-INF/services/x",
    "/search?q=/proc/1234/maps",
    "/jobs?run=42&exec=false",
    "/search?q=cat+/etc/hosts",
    "/search?q=what+is+__class__+in+python",
    "/api/search?uri=file:///C:/papers/one.pdf",
    "/qr?data=http://localhost:8080/pair",
    "/_next/image?url=http%3A%2F%2Flocalhost%3A3000%2Fa.jpg&w=640&q=75",
    "/wp-json/oembed/1.0/embed?url=http%3A%2F%2Flocalhost%2Fhello",
    "/mydb.json?sql=select+count(*)+from+sqlite_master",
    "/exec?query=SELECT+x+FROM+t+WHERE+a='b'",
    "/invite?details=Standup%0ALocation:%20Room%204",
    "/contact?message=Results%0D%0AX-ray%20fine",
    "/svn/!svn/rvr/1/trunk/.env",
    "/cgit/app/plain/.npmrc",
    "/api/v1/repos/o/r/contents/.env",
    "/projects/P/repos/r/browse/.env",
    "/docs/sample.sql",
    "/secure/attachment/12345/backup.zip",
    "/pluginfile.php/1234/mod_resource/content/1/database.sql?forcedownload=1",
    "/g/p/uploads/0123456789abcdef0123456789abcdef/backup.zip",
    "/download/attachments/98765/web.config?version=1",
    "/browser/trunk/.htaccess?rev=12",
    "/o/r/releases/download/v1.0/database.sqlite",
    "/artifactory/libs-release-local/app/web.config",
];

#[test]
fn searches_in_the_language_of_a_program_are_not_answered_attacks() {
    let lines = LANGUAGES.iter().enumerate();
    let lines = lines.map(|(client, target)| log_line(client, 0, ("GET", target), 200, BROWSER));
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, target) in LANGUAGES.iter().enumerate() {
        let raised = alerts
            .get(&client)
            .is_some_and(|alerts| alerts.iter().any(|(rule, _)| rule == "http-attack-answered"));
        assert!(!raised, "{target}");
    }
}

#[test]
fn ordinary_targets_are_no_attempts() {
    let lines = (0..10).flat_map(|second| {
        let lines = ORDINARY.iter().enumerate();
        lines.map(move |(client, target)| log_line(client, second, ("GET", target), 200, BROWSER))
    });
    let alerts = alerts_of_log(&lines.collect::<String>());
    let raised: Vec<_> =
        alerts.iter().map(|(client, alerts)| (ORDINARY[*client], alerts)).collect();
    assert!(raised.is_empty(), "{raised:?}");
}

/// What makes a target ordinary for a program does not hide an attack beside it.
#[test]
fn an_attack_beside_what_a_program_is_asked_is_seen() {
    let targets = [
        "/item?id=1%27%20or%20%271%27%3D%271&jql=a",
        "/explore?left=%7B%7D&id=1%27%20or%20%271%27%3D%271",
        "/app/discover?id=1%27%20or%20%271%27%3D%271&_a=(a)",
        "/search?search=a&scope=blobs&id=1%27%20or%20%271%27%3D%271",
        "/remote.php/webdav/../../../../etc/passwd",
        "/matomo.php?action_name=a&idsite=1%27%20or%20%271%27%3D%271",
        "/api/sources/lines?key=a&from=1%27%20or%20%271%27%3D%271",
        "/attachments/12/shell.php",
        "/uploads/backup.zip",
        "/attachments/.env",
        "/view?file=/etc/passwd&name=vfs.file.size%5Ba%5D",
        "/rest/services/Plots/FeatureServer/0/query?where=1%3D1+and+1%3D(select+count(*)+from+t)",
    ];
    let lines = targets.iter().enumerate();
    let lines = lines.map(|(client, target)| log_line(client, 0, ("GET", target), 200, BROWSER));
    let alerts = alerts_of_log(&lines.collect::<String>());
    for (client, target) in targets.iter().enumerate() {
        let alerts = alerts.get(&client).cloned().unwrap_or_default();
        assert!(alerts.iter().any(|(rule, _)| rule == "http-attack-answered"), "{target}");
    }
}
