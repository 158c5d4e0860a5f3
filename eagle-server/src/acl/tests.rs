//! Rules, checks and files, against a small catalogue.

use super::*;
use std::sync::OnceLock;

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    const READ: u32 = 1;
    const WRITE: u32 = 2;
    const ADMIN: u32 = 4;
    CATALOGUE.get_or_init(|| {
        let row = |name, categories, parent| CommandRow {
            name,
            categories,
            parent,
            is_open: name == "auth",
        };
        Catalogue::new(
            &["read", "write", "admin"],
            vec![
                row("get", READ, None),
                row("mget", READ, None),
                row("set", WRITE, None),
                row("config", 0, None),
                row("config|get", ADMIN, Some(3)),
                row("config|set", ADMIN, Some(3)),
                row("auth", 0, None),
                row("select", 0, None),
            ],
        )
    })
}

fn acl_with(name: &str, rules: &str) -> Acl {
    let acl = Acl::new(catalogue());
    set(&acl, name, rules).expect("the rules are right");
    acl
}

fn set(acl: &Acl, name: &str, rules: &str) -> Result<(), String> {
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    acl.set(name.as_bytes(), &rules, false, |_, _, _| {})
        .map_err(|error| String::from_utf8(error).expect("the rules are text"))
}

fn rules_of(acl: &Acl, name: &str) -> String {
    let rules = acl
        .find(name.as_bytes())
        .expect("it exists")
        .user()
        .rules(catalogue());
    String::from_utf8(rules).expect("the rules are text")
}

/// A request of `words` whose keys, all read, follow the command.
fn check(acl: &Acl, name: &str, words: &[&str]) -> Result<(), Denial> {
    let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let command = catalogue().find(argv[0]).expect("the catalogue has it");
    let writes = words[0] == "set";
    let keys = if matches!(words[0], "get" | "mget" | "set") {
        1..argv.len()
    } else {
        0..0
    };
    let request = Request {
        command,
        argv: &argv,
        keys: keys
            .map(|position| KeyUse {
                position,
                reads: !writes,
                writes,
            })
            .collect(),
        channels: Default::default(),
    };
    acl.find(name.as_bytes())
        .expect("it exists")
        .user()
        .check(catalogue(), &request)
}

#[test]
fn rules_are_described_by_the_categories_that_fit_best() {
    let cases = [
        (
            "on >secret ~a* +@read",
            "on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b ~a* resetchannels -@all +@read",
        ),
        ("nopass allkeys allchannels +@all", "off nopass ~* &* +@all"),
        ("+@all -get", "off resetchannels +@all -get"),
        ("+@all -@read +mget", "off resetchannels +@all -get"),
        ("+config", "off resetchannels -@all +@admin +config"),
        ("+config|get", "off resetchannels -@all +config|get"),
        (
            "+select|0 +select|1",
            "off resetchannels -@all +select|0 +select|1",
        ),
        ("%R~a %W~a %W~b %RW~c", "off ~a %W~b ~c resetchannels -@all"),
        ("&x (+get ~k) ( +set", ""),
        (
            "&x (+get ~k) ( +set %W~w )",
            "off resetchannels &x -@all (~k resetchannels -@all +get) (%W~w resetchannels -@all +@write)",
        ),
        ("reset", "off sanitize-payload resetchannels -@all"),
    ];
    for (rules, described) in cases {
        if described.is_empty() {
            let acl = Acl::new(catalogue());
            let error = set(&acl, "u", rules).unwrap_err();
            assert_eq!(
                error,
                "Unmatched parenthesis in acl selector starting at '('."
            );
            continue;
        }
        let acl = acl_with("u", rules);
        assert_eq!(rules_of(&acl, "u"), described, "{rules}");
        // What is described gives the same user again.
        set(&acl, "v", described).expect("the rules are right");
        assert_eq!(rules_of(&acl, "v"), described);
    }
}

#[test]
fn a_change_happens_as_a_whole_or_not_at_all() {
    let acl = acl_with("u", "on +get");
    for (rules, text) in [
        (
            "off +nosuch",
            "Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL",
        ),
        (
            "off foo",
            "Error in ACL SETUSER modifier 'foo': Syntax error",
        ),
        (
            "off <none",
            "Error in ACL SETUSER modifier '<none': The password you are trying to remove from the user does not exist",
        ),
        (
            "off #0",
            "Error in ACL SETUSER modifier '#0': The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        (
            "off +config|get|x",
            "Error in ACL SETUSER modifier '+config|get|x': Allowing first-arg of a subcommand is not supported",
        ),
    ] {
        assert_eq!(set(&acl, "u", rules), Err(text.to_owned()));
    }
    assert!(
        set(&acl, "u", "allkeys ~x")
            .unwrap_err()
            .contains("Try 'resetkeys'")
    );
    assert!(
        set(&acl, "u", "&* &x")
            .unwrap_err()
            .contains("Try 'resetchannels'")
    );
    assert_eq!(rules_of(&acl, "u"), "on resetchannels -@all +get");
}

#[test]
fn one_selector_must_allow_the_whole_request() {
    let acl = acl_with("u", "+get ~a* (+set %W~b* %R~c*)");
    assert_eq!(check(&acl, "u", &["get", "a1"]), Ok(()));
    assert_eq!(check(&acl, "u", &["set", "b1"]), Ok(()));
    assert_eq!(check(&acl, "u", &["set", "c1"]), Err(Denial::Key(1)));
    assert_eq!(check(&acl, "u", &["get", "b1"]), Err(Denial::Key(1)));
    assert_eq!(check(&acl, "u", &["mget", "a1"]), Err(Denial::Command));
    assert_eq!(check(&acl, "u", &["auth", "x"]), Ok(()));
    set(&acl, "u", "+mget").expect("it is right");
    assert_eq!(check(&acl, "u", &["mget", "a1", "b1"]), Err(Denial::Key(2)));
    set(&acl, "u", "+select|0").expect("it is right");
    assert_eq!(check(&acl, "u", &["select", "0"]), Ok(()));
    assert_eq!(
        check(&acl, "u", &["select", "1"]),
        Err(Denial::Key(2)).or(Err(Denial::Command))
    );
}

#[test]
fn passwords_open_only_enabled_users() {
    let acl = acl_with("u", ">one >two");
    let opens = |password: &[u8]| acl.authenticate(b"u", password).is_some();
    assert!(!opens(b"one"));
    set(&acl, "u", "on").expect("it is right");
    assert!(opens(b"one") && opens(b"two") && !opens(b"three"));
    set(&acl, "u", "<one").expect("it is right");
    assert!(!opens(b"one") && opens(b"two"));
    set(&acl, "u", "nopass").expect("it is right");
    assert!(opens(b"anything"));
    assert!(acl.authenticate(b"nobody", b"").is_none());
}

#[test]
fn whoever_is_deleted_may_do_nothing() {
    let acl = acl_with("u", "on nopass +@all ~* &*");
    let held = acl.find(b"u").expect("it exists");
    assert!(held.is_unrestricted());
    assert_eq!(acl.delete(&[b"u", b"default", b"nobody"]).len(), 1);
    assert!(held.is_gone() && !held.is_unrestricted() && !held.is_open());
    assert_eq!(acl.all().len(), 1);
}

#[test]
fn requirepass_is_the_default_users_password() {
    let acl = Acl::new(catalogue());
    assert!(acl.default_user().is_open() && acl.default_user().is_unrestricted());
    acl.set_default_password(b"secret");
    assert!(!acl.default_user().is_open());
    assert!(acl.authenticate(b"default", b"secret").is_some());
    acl.set_default_password(b"");
    assert!(acl.default_user().is_open());
}

#[test]
fn an_acl_file_is_loaded_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.acl").display().to_string();
    let acl = acl_with("old", "on nopass");
    std::fs::write(
        &path,
        "user a on +get\nuser a\n\nuse b\nuser c +nosuch foo bar\n",
    )
    .unwrap();
    let faults = String::from_utf8(acl.load(&path, false).unwrap_err()).unwrap();
    assert_eq!(
        faults,
        format!(
            "WARNING: Duplicate user 'a' found on line 2. {path}:4 should start with user keyword followed by the \
             username. {path}:5: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
             {path}:5: Syntax error. WARNING: ACL errors detected, no change to the previously active ACL rules was \
             performed"
        )
    );
    assert!(acl.find(b"old").is_some() && acl.find(b"a").is_none());
    std::fs::write(
        &path,
        "user a on +get (~x +set)\r\nuser default on +@all ~a\n",
    )
    .unwrap();
    let gone = acl.load(&path, false).expect("the file is right");
    assert_eq!(gone.len(), 1);
    assert!(!acl.default_user().is_unrestricted());
    acl.save(&path).expect("the directory can be written");
    let saved = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        saved,
        "user a on resetchannels -@all +get (~x resetchannels -@all +@write)\nuser default on ~a resetchannels +@all\n"
    );
    let error = acl.load("/nonexistent/acl", false).unwrap_err();
    assert_eq!(
        error,
        b"Error loading ACLs, opening file '/nonexistent/acl': No such file or directory"
    );
}

#[test]
fn the_log_counts_what_is_alike() {
    let log = Log::default();
    let entry = |object: &str, at_ms| LogEntry {
        count: 1,
        reason: Reason::Key,
        place: Place::TopLevel,
        object: object.into(),
        username: b"u".to_vec(),
        at_ms,
        client: String::new(),
    };
    log.add(entry("a", 0), 2);
    log.add(entry("b", 10), 2);
    log.add(entry("a", 60_000), 2);
    let seen: Vec<_> = log
        .newest(9)
        .into_iter()
        .map(|e| (e.object, e.count, e.at_ms))
        .collect();
    assert_eq!(seen, [(b"a".to_vec(), 2, 60_000), (b"b".to_vec(), 1, 10)]);
    log.add(entry("a", 200_000), 2);
    assert_eq!(log.newest(9).len(), 2);
    assert_eq!(log.newest(1)[0].count, 1);
    log.reset();
    assert!(log.newest(9).is_empty());
}
