//! The house keeps its shape: imports point down, `unsafe` stays in its folders, files stay short,
//! and the top level holds what the map says. Every rule is a table below; a new module must be
//! given its place there before anything may use it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use eagledb_tests::binary::workspace;

/// A crate's modules, top layer first. A module may import those beside and below it.
struct Layers {
    crate_dir: &'static str,
    layers: &'static [&'static [&'static str]],
    /// Modules that import no other module of their crate.
    leaves: &'static [&'static str],
}

const CRATES: [Layers; 2] = [
    Layers {
        crate_dir: "eagle-core",
        layers: &[&["store"], &["pmem"], &["sync", "resp", "bits"], &["text"]],
        leaves: &["sync", "text"],
    },
    Layers {
        crate_dir: "eagle-server",
        layers: &[
            &["startup"],
            &["server", "admin"],
            &["cron", "defrag", "opening", "reconfigure", "exposition"],
            &["net"],
            &["command"],
            &["node"],
            &[
                "cluster", "persist", "pubsub", "repl", "script", "session", "socket", "tracking",
            ],
            &["acl"],
            &["oom_score"],
            &["config", "metrics"],
            &[
                "clock",
                "eviction",
                "halt",
                "log",
                "propagation",
                "shutdown",
                "reference",
                "surrender",
                "whole_file",
            ],
        ],
        leaves: &[
            "clock",
            "eviction",
            "halt",
            "log",
            "propagation",
            "shutdown",
            "surrender",
            "whole_file",
        ],
    },
];

const UNSAFE_FOLDERS: [&str; 3] = [
    "eagle-core/src/pmem",
    "eagle-core/src/sync",
    "eagle-core/src/store/dash",
];

const TOP_LEVEL: [&str; 13] = [
    ".cargo",
    ".ci",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "docker",
    "eagle-core",
    "eagle-server",
    "redis-tests",
    "src",
    "tests",
];

/// Not part of the source: git's own folder, and what `.gitignore` names.
const TOP_LEVEL_IGNORED: [&str; 3] = [".git", "target", "eagledb-cluster"];

const FILE_LINES_MAX: usize = 800;

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for Layers {
        crate_dir,
        layers,
        leaves,
    } in CRATES
    {
        let rank: BTreeMap<&str, usize> = layers
            .iter()
            .enumerate()
            .flat_map(|(rank, modules)| modules.iter().map(move |module| (*module, rank)))
            .collect();
        let imports = imports_of(&workspace().join(crate_dir).join("src"));
        for (module, targets) in &imports {
            let Some(from) = rank.get(module.as_str()) else {
                faults.push(format!("{crate_dir}: module {module} has no layer"));
                continue;
            };
            for (target, place) in targets {
                let allowed = rank.get(target.as_str()).is_some_and(|to| from <= to);
                if !allowed || leaves.contains(&module.as_str()) {
                    faults.push(format!("{place}: {module} must not import {target}"));
                }
            }
        }
        faults.extend(
            cycle(&imports).map(|modules| format!("{crate_dir}: a cycle of imports, {modules}")),
        );
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_folders() {
    let allowed = UNSAFE_FOLDERS.map(|folder| workspace().join(folder));
    let faults: Vec<String> = sources()
        .iter()
        .filter(|file| !allowed.iter().any(|folder| file.starts_with(folder)))
        .flat_map(|file| places_of(file, |code| words(code).any(|word| word == "unsafe")))
        .collect();
    assert!(
        faults.is_empty(),
        "unsafe outside {UNSAFE_FOLDERS:?}:\n{}",
        faults.join("\n")
    );
}

#[test]
fn the_top_level_holds_only_what_the_map_names() {
    let entries = std::fs::read_dir(workspace()).expect("the workspace is readable");
    let names = entries.map(|entry| {
        entry
            .expect("readable")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let strangers: Vec<String> = names
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .filter(|name| !TOP_LEVEL_IGNORED.contains(&name.as_str()) && !name.ends_with(".rdb"))
        .collect();
    assert!(strangers.is_empty(), "not on the map: {strangers:?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .iter()
        .map(|file| {
            (
                file,
                std::fs::read_to_string(file)
                    .expect("readable")
                    .lines()
                    .count(),
            )
        })
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(
        long.is_empty(),
        "over {FILE_LINES_MAX} lines:\n{}",
        long.join("\n")
    );
}

/// For each top-level module of a crate, the other modules it imports and where it does so first.
fn imports_of(src: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut imports: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for file in rust_files(src) {
        let relative = file.strip_prefix(src).expect("found below src");
        let first = relative
            .components()
            .next()
            .expect("a file has a name")
            .as_os_str()
            .to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        // The crate's roots only wire its modules together.
        if module == "lib" || module == "main" {
            continue;
        }
        let targets = imports.entry(module.clone()).or_default();
        for target in crate_paths(&code_of(&file))
            .into_iter()
            .filter(|target| *target != module)
        {
            targets
                .entry(target)
                .or_insert_with(|| file.display().to_string());
        }
    }
    imports
}

/// The first segment of every path that starts with `crate::`, groups in braces included.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let top = group.chars().take_while(|c| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                depth >= 0
            });
            let mut depth = 0;
            let flat: String = top
                .filter(|c| {
                    depth += i32::from(*c == '{') - i32::from(*c == '}');
                    depth == 0
                })
                .collect();
            paths.extend(
                flat.split(',')
                    .filter_map(|item| words(item).next())
                    .map(str::to_owned),
            );
        } else {
            paths.extend(words(rest).next().map(str::to_owned));
        }
    }
    // Items of the crate root (macros, types) are no modules.
    paths.retain(|path| path.starts_with(|c: char| c.is_ascii_lowercase()));
    paths
}

/// A cycle among modules, if there is one, as text.
fn cycle(imports: &BTreeMap<String, BTreeMap<String, String>>) -> Option<String> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = imports
        .iter()
        .map(|(module, targets)| {
            (
                module.as_str(),
                targets.keys().map(String::as_str).collect(),
            )
        })
        .collect();
    // Take away modules that import nothing that is left, until none is left or all are in cycles.
    loop {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, targets)| targets.iter().all(|target| !left.contains_key(target)))
            .map(|(module, _)| *module)
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| {
            left.remove(module);
        });
    }
    (!left.is_empty()).then(|| left.into_keys().collect::<Vec<_>>().join(", "))
}

/// Every Rust file of the workspace.
fn sources() -> Vec<PathBuf> {
    ["src", "eagle-core", "eagle-server", "tests"]
        .iter()
        .flat_map(|dir| rust_files(&workspace().join(dir)))
        .collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder of the workspace") {
        let path = entry.expect("readable").path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".venv") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The lines of a file's code for which `matches` holds, as `file:line`.
fn places_of(file: &Path, matches: impl Fn(&str) -> bool) -> Vec<String> {
    let code = code_of(file);
    let lines = code.lines().enumerate().filter(|(_, line)| matches(line));
    lines
        .map(|(index, _)| format!("{}:{}", file.display(), index + 1))
        .collect()
}

/// A file without comments, string contents and its unit tests at the foot.
fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("readable");
    let code = text
        .split("\n#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default();
    code.lines()
        .map(code_of_line)
        .collect::<Vec<_>>()
        .join("\n")
}

fn code_of_line(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(c),
        }
    }
    code
}

/// The identifiers and keywords of a piece of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

#[test]
fn the_rules_see_what_they_should() {
    let code = "use crate::{a, b::{c, d}};\nuse crate::pmem::Pool; fn f() { crate::sync::y() }";
    let found: Vec<String> = crate_paths(code).into_iter().collect();
    assert_eq!(found, ["a", "b", "pmem", "sync"]);
    assert_eq!(
        code_of_line("let x = \"unsafe // \\\" {\"; // unsafe"),
        "let x = ; "
    );
    let import = |from: &str, to: &str| {
        (
            from.to_owned(),
            BTreeMap::from([(to.to_owned(), String::new())]),
        )
    };
    assert_eq!(
        cycle(&BTreeMap::from([import("a", "b"), import("b", "c")])),
        None
    );
    assert_eq!(
        cycle(&BTreeMap::from([import("a", "b"), import("b", "a")])).as_deref(),
        Some("a, b")
    );
}
