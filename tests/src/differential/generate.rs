//! Command lines from the grammar and from the documented syntax, and one line in eight spoiled on
//! purpose: a word too many, too few, or a value of the wrong kind.
//!
//! A sequence may have a theme: most of its commands are then of one group, on few keys, so that values grow deep. It may
//! have clients that cache, or whose user may do only some things. Some steps come in blocks: transactions, and what is
//! tried while memory or replicas are short.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::docs::{Argument, Documented, Kind};
use super::payloads::Payloads;
use super::policy::{Policy, keep_all_found, policy};
use super::pools::*;
use super::run::{AUDITOR, BLOCKER, BLOCKERS, CONNECTIONS, SUBSCRIBER, SUBSCRIBER_ID};
use super::script;
use super::{BLOCKING, Compare, DEEP, EXPIRING, FINDING, GRAMMAR, LISTENING, Rule, Step};

/// Keys of a sequence that has a theme.
const THEME_KEYS: usize = 3;
/// Commands of a transaction, or of a time of shortage, at most.
const BLOCK_MAX: usize = 16;
/// Enough fields for a hash to outgrow its packed form once its limit was lowered.
const FIELDS: u32 = 12;
/// More than most limits of packed forms that are set.
const MANY_MAX: u32 = 160;

/// An endless source of steps.
#[derive(Debug)]
pub struct Generator {
    pub(super) rng: SmallRng,
    /// The documented commands that may be made from their syntax.
    documented: Arc<[Documented]>,
    /// How many keys the command being made has named by number, or at last.
    keys_named: usize,
    keys_wanted: Option<usize>,
    payloads: Arc<Payloads>,
    /// The rules most commands are made by.
    theme: Vec<&'static Rule>,
    /// Connections whose user is another than the run's.
    are_limited: bool,
    /// What follows at once.
    next: VecDeque<Step>,
}

impl Generator {
    /// The generator of one sequence. `documented` may be empty: only the grammar is used then.
    pub fn new(seed: u64, documented: Arc<[Documented]>) -> Generator {
        Generator {
            rng: SmallRng::seed_from_u64(seed),
            documented,
            keys_named: 1,
            keys_wanted: None,
            payloads: Arc::default(),
            theme: Vec::new(),
            are_limited: false,
            next: VecDeque::new(),
        }
    }

    /// The same with dumps to restore.
    pub fn with_payloads(mut self, payloads: Arc<Payloads>) -> Generator {
        self.payloads = payloads;
        self
    }

    /// A whole sequence: settings, about `len` steps, and the questions at its end.
    pub fn sequence(&mut self, len: usize) -> Vec<Step> {
        let mut steps = self.settings();
        steps.extend(self.clients());
        if self.one_in(2) {
            let (_, starts) = self.pick(THEMES);
            let all = GRAMMAR.iter().chain(DEEP);
            self.theme = all
                .filter(|rule| starts.iter().any(|start| rule.words.starts_with(start)))
                .collect();
        }
        steps.extend((0..len).map(|_| self.step()));
        steps.extend(self.next.drain(..));
        if self.one_in(2) {
            self.join(&mut steps);
        }
        steps.extend(audit());
        steps
    }

    /// Has half of the steps sent together with the next one.
    fn join(&mut self, steps: &mut [Step]) {
        let is = |step: &Step, name: &str| step.args[0].eq_ignore_ascii_case(name.as_bytes());
        for at in 0..steps.len() {
            // QUIT leaves what comes behind it without a reply, SCRIPT DEBUG is refused if a reply is still on its way.
            let stands_alone =
                is(&steps[at], "quit") || steps.get(at + 1).is_some_and(|next| is(next, "script"));
            steps[at].is_joined = !stands_alone && self.one_in(2);
        }
    }

    /// Directives that are varied from sequence to sequence.
    pub fn settings(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (name, values) in DIRECTIVES {
            if self.one_in(3) {
                let value = self.pick(values);
                steps.push(Step::new(
                    AUDITOR,
                    &["CONFIG", "SET", name, value],
                    Compare::Exact,
                ));
            }
        }
        if self.one_in(2) {
            let listen = &["PSUBSCRIBE", "__key*__:*"];
            steps.push(Step::new(SUBSCRIBER, listen, Compare::Exact));
            if self.one_in(2) {
                let tell = &["CONFIG", "SET", "notify-keyspace-events", "KEA"];
                steps.push(Step::new(AUDITOR, tell, Compare::Exact));
            }
        }
        steps
    }

    /// What the clients of a sequence are: of the newer protocol, caching, limited by their user.
    fn clients(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for connection in 0..CONNECTIONS {
            if self.one_in(2) {
                steps.push(Step::new(connection, &["HELLO", "3"], Compare::Shape));
            }
            if self.one_in(4) {
                let args = self.expand(
                    "CLIENT TRACKING ON REDIRECT:<subscriber>? BCAST|OPTIN|OPTOUT? NOLOOP?",
                );
                steps.push(Step::of(connection, args, Compare::Exact));
            }
        }
        self.are_limited = self.one_in(4);
        if self.are_limited {
            let user = format!("ACL SETUSER u3 reset on nopass {}", self.pick(LIMITS));
            let words: Vec<&str> = user.split(' ').collect();
            steps.push(Step::new(AUDITOR, &words, Compare::Exact));
            let connection = self.rng.random_range(0..CONNECTIONS);
            steps.push(Step::new(
                connection,
                &["AUTH", "u3", "any"],
                Compare::Exact,
            ));
        }
        steps
    }

    /// The next command.
    pub fn step(&mut self) -> Step {
        if let Some(step) = self.next.pop_front() {
            return step;
        }
        match self.rng.random_range(0..52) {
            0 => self.by_rules(LISTENING, SUBSCRIBER),
            1 | 2 => {
                let connection = BLOCKER + self.rng.random_range(0..BLOCKERS);
                self.by_rules(BLOCKING, connection)
            }
            3 => self.by_listening_syntax(),
            4 => self.transaction(),
            5 if self.one_in(4) => self.shortage(),
            _ => self.single(),
        }
    }

    /// A command on an ordinary connection, or a key that expires.
    fn single(&mut self) -> Step {
        if !self.theme.is_empty() && !self.one_in(3) {
            let connection = self.connection();
            let rule = *self.theme.choose(&mut self.rng).expect("has rules");
            let args = self.expand(rule.words);
            let step = self.finish(connection, args, rule.compare);
            return self.ask_encoding(step);
        }
        match self.rng.random_range(0..46) {
            0..=3 => self.scripted(),
            4..=13 if !self.documented.is_empty() => self.by_syntax(),
            14..=20 => {
                let connection = self.connection();
                let step = self.by_rules(DEEP, connection);
                self.ask_encoding(step)
            }
            21 => self.expiring(),
            _ => {
                let connection = self.connection();
                self.by_rules(GRAMMAR, connection)
            }
        }
    }

    /// Half of the time the form of the key that a step names first is asked for next.
    fn ask_encoding(&mut self, step: Step) -> Step {
        let key = step.args.get(1).filter(|arg| script::is_key(arg));
        if let Some(key) = key.cloned()
            && self.one_in(2)
        {
            let words = ["OBJECT", "ENCODING"].map(|word| word.as_bytes().to_vec());
            let args = [&words[..], &[key]].concat();
            self.next
                .push_back(Step::of(step.connection, args, Compare::Exact));
        }
        step
    }

    /// A whole transaction on one connection, now and then with commands of others amid; errors among its commands are
    /// rarer than elsewhere, as one that is found when it is queued spoils the whole.
    fn transaction(&mut self) -> Step {
        let connection = self.connection();
        let mut steps = VecDeque::new();
        if self.one_in(3) {
            let args = self.expand("WATCH <key>+");
            steps.push_back(Step::of(connection, args, Compare::Exact));
        }
        steps.push_back(Step::new(connection, &["MULTI"], Compare::Exact));
        for _ in 0..self.rng.random_range(1..BLOCK_MAX) {
            let mut step = self.single();
            // What follows it directly would be queued too, for another reason.
            self.next.clear();
            if step.connection < CONNECTIONS && !self.one_in(8) {
                step.connection = connection;
            }
            if !step.expires {
                steps.push_back(step);
            }
        }
        let end = if self.one_in(10) { "DISCARD" } else { "EXEC" };
        steps.push_back(Step::new(connection, &[end], Compare::Exact));
        let first = steps.pop_front().expect("has steps");
        self.next = steps;
        first
    }

    /// A time in which there is no memory for writes, or no replica to take them.
    fn shortage(&mut self) -> Step {
        let (short, enough) = self.pick(SHORTAGES);
        let set = |directives: &[&str]| {
            Step::new(
                AUDITOR,
                &[&["CONFIG", "SET"], directives].concat(),
                Compare::Exact,
            )
        };
        let mut steps = VecDeque::new();
        for _ in 0..self.rng.random_range(4..BLOCK_MAX) {
            let step = match self.rng.random_range(0..4) {
                0 => self.scripted(),
                _ => self.data_step(CONNECTIONS),
            };
            // With another policy keys would be evicted, each server's choice.
            let is_setting = |arg: &Vec<u8>| arg.eq_ignore_ascii_case(b"config");
            if !step.args.iter().any(is_setting) {
                steps.push_back(step);
            }
        }
        steps.push_back(set(enough));
        self.next = steps;
        set(short)
    }

    /// A key that is over before the next step, and a command that finds it gone. Redis keeps such a key until it is
    /// looked up, and counts it, tells of it and replaces it as if it were there; so it is looked up at once.
    fn expiring(&mut self) -> Step {
        let rule = EXPIRING.choose(&mut self.rng).expect("has rules");
        let args = self.expand(rule.words);
        let key = args[1].clone();
        let (mut finds, compare) = self.rule_command(FINDING);
        finds[1] = key;
        // The auditor's commands are never queued.
        let step = |args, compare, expires| Step {
            expires,
            ..Step::of(AUDITOR, args, compare)
        };
        self.next.push_back(step(finds, compare, false));
        step(args, rule.compare, true)
    }

    /// A command on data or on the transaction, by the rules alone, on one of `connections` connections: for tests of
    /// what commands leave behind, which read one reply to each.
    pub fn data_step(&mut self, connections: usize) -> Step {
        const OTHERS: &[&str] = &[
            "ACL", "AUTH", "CLIENT", "COMMAND", "CONFIG", "DEBUG", "EVAL", "FCALL", "FUNCTION",
            "HELLO", "MIGRATE", "PUBLISH", "SCRIPT", "SPUBLISH", "WAIT",
        ];
        let rule = loop {
            let rule = GRAMMAR.choose(&mut self.rng).expect("has rules");
            if !OTHERS.iter().any(|other| rule.words.starts_with(other)) {
                break rule;
            }
        };
        let connection = self.connection().min(connections - 1);
        let args = self.expand(rule.words);
        self.finish(connection, args, rule.compare)
    }

    /// Most commands on one connection, so that its transactions grow long.
    fn connection(&mut self) -> usize {
        if self.are_limited || self.one_in(4) {
            self.rng.random_range(0..CONNECTIONS)
        } else {
            0
        }
    }

    fn by_rules(&mut self, rules: &[Rule], connection: usize) -> Step {
        let (args, compare) = self.rule_command(rules);
        self.finish(connection, args, compare)
    }

    /// Any command that is made from its syntax, on an ordinary connection.
    fn by_syntax(&mut self) -> Step {
        let connection = self.connection();
        let (args, compare) = self.documented_command();
        // What keys a command has, and who may run it, is known without running it.
        let asks: &[&str] = match self.rng.random_range(0..24) {
            0 => &["COMMAND", "GETKEYS"],
            1 => &["COMMAND", "GETKEYSANDFLAGS"],
            2 => &["ACL", "DRYRUN", "u1"],
            _ => return self.finish(connection, args, compare),
        };
        let mut line: Vec<Vec<u8>> = asks.iter().map(|word| word.as_bytes().to_vec()).collect();
        line.extend(args);
        self.finish(connection, line, Compare::Unordered)
    }

    fn documented_command(&mut self) -> (Vec<Vec<u8>>, Compare) {
        let all = self.documented.clone();
        loop {
            let command = all.choose(&mut self.rng).expect("not empty");
            let compare = match policy(&command.name) {
                None => command.compare,
                Some(Policy::As(compare)) => compare,
                Some(_) => continue,
            };
            return (self.documented_line(command), compare);
        }
    }

    fn rule_command(&mut self, rules: &[Rule]) -> (Vec<Vec<u8>>, Compare) {
        let rule = rules.choose(&mut self.rng).expect("has rules");
        (self.expand(rule.words), rule.compare)
    }

    fn by_listening_syntax(&mut self) -> Step {
        let all = self.documented.clone();
        let listening: Vec<&Documented> = all
            .iter()
            .filter(|command| matches!(policy(&command.name), Some(Policy::Listener)))
            .collect();
        match listening.choose(&mut self.rng) {
            Some(command) => {
                let args = self.documented_line(command);
                self.finish(SUBSCRIBER, args, Compare::Exact)
            }
            None => self.by_rules(LISTENING, SUBSCRIBER),
        }
    }

    /// Commands inside a script or function. Replies pass through Lua, so where there are several only those that
    /// are the same to the last byte are asked for.
    fn scripted(&mut self) -> Step {
        let connection = self.connection();
        let form = self.rng.random_range(0..script::FORMS);
        let count = match script::takes_several(form) {
            true => self.rng.random_range(1..8),
            false => 1,
        };
        let mut commands = Vec::new();
        let mut compare = Compare::Exact;
        while commands.len() < count {
            let (mut args, allowed) = match self.rng.random_range(0..4) {
                0 if !self.documented.is_empty() => self.documented_command(),
                1 => self.rule_command(DEEP),
                _ => self.rule_command(GRAMMAR),
            };
            let loose = matches!(allowed, Compare::Unordered | Compare::Pairs);
            if !(script::allows(&args[0]) && (allowed == Compare::Exact || loose && count == 1)) {
                continue;
            }
            compare = allowed;
            // COMMAND alone tells of the whole table.
            let is_command = args[0].eq_ignore_ascii_case(b"command");
            if self.one_in(8) && !loose && !is_command {
                self.spoil(&mut args);
            }
            keep_all_found(&mut args);
            commands.push(args);
        }
        Step::of(connection, script::line(form, &commands), compare)
    }

    fn finish(&mut self, connection: usize, mut args: Vec<Vec<u8>>, mut compare: Compare) -> Step {
        if self.one_in(8) {
            self.spoil(&mut args);
            // The allowance was made for the unspoiled command; and COMMAND alone tells of the whole table.
            if compare != Compare::Exact || args[0].eq_ignore_ascii_case(b"command") {
                compare = Compare::Refusal;
            }
        }
        keep_all_found(&mut args);
        Step::of(connection, args, compare)
    }

    fn documented_line(&mut self, command: &Documented) -> Vec<Vec<u8>> {
        let mut args: Vec<Vec<u8>> = command
            .words
            .iter()
            .map(|word| self.literal(word))
            .collect();
        self.keys_wanted = None;
        self.keys_named = 1;
        for argument in &command.arguments {
            self.argument(&command.name, argument, &mut args);
        }
        args
    }

    fn argument(&mut self, command: &str, argument: &Argument, args: &mut Vec<Vec<u8>>) {
        let counted = argument.kind == Kind::Key && argument.multiple;
        let wanted = if counted {
            self.keys_wanted.take()
        } else {
            None
        };
        if argument.optional && wanted.is_none() && self.one_in(2) {
            return;
        }
        let repeats = match (argument.multiple, &*argument.name) {
            (false, _) => 1,
            (true, "id") if command.starts_with("xread") => self.keys_named,
            (true, "weight") => self.keys_named,
            (true, _) => wanted.unwrap_or_else(|| self.rng.random_range(1..4)),
        };
        if counted {
            self.keys_named = repeats;
        }
        for round in 0..repeats {
            if let Some(token) = &argument.token
                && (round == 0 || argument.multiple_token)
            {
                args.push(self.literal(token));
            }
            match argument.kind {
                Kind::Token => {}
                Kind::OneOf => {
                    let part = argument.parts.choose(&mut self.rng).expect("has parts");
                    self.argument(command, part, args);
                }
                Kind::Block => {
                    for part in &argument.parts {
                        self.argument(command, part, args);
                    }
                }
                Kind::Key => args.push(self.key()),
                Kind::Pattern if command.contains("psub") || command.starts_with("pubsub") => {
                    args.push(self.pick(CHANNEL_PATTERNS).into());
                }
                Kind::Pattern => args.push(self.pick(PATTERNS).into()),
                Kind::Integer => args.push(self.integer(command, &argument.name)),
                Kind::Double => args.push(self.double(command, &argument.name)),
                Kind::UnixTime => {
                    // SET stores what is over, and then it is there for some eyes.
                    let pool = match (command, argument.name.contains("milliseconds")) {
                        ("set", true) => LATER_MS,
                        ("set", false) => LATER,
                        (_, true) => AT_MS,
                        (_, false) => AT,
                    };
                    args.push(self.number(pool));
                }
                Kind::Text => args.push(self.text(command, &argument.name)),
            }
        }
    }

    fn integer(&mut self, command: &str, name: &str) -> Vec<u8> {
        match name {
            "numkeys" => {
                let count = self.rng.random_range(1..4);
                self.keys_wanted = Some(count);
                if self.one_in(12) {
                    return self.number(INTS);
                }
                count.to_string().into()
            }
            "weight" => self.number(SCORES),
            "count" | "limit" | "num-matches" | "numreplicas" | "len" => self.number(COUNTS),
            "db" | "destination-db" | "index1" | "index2" => self.pick(DBS).into(),
            "index" if command == "select" => self.pick(DBS).into(),
            "milliseconds" => self.number(TTLS_MS),
            "seconds" | "ttl" => self.number(TTLS),
            "start" | "stop" | "end" | "index" | "rank" => self.number(INDEXES),
            "offset" if command == "setrange" => self.number(INDEXES),
            "offset" if command.contains("bit") => {
                self.pick(&["0", "1", "7", "#2", "100", "-1", "x"]).into()
            }
            "offset" => self.number(INDEXES),
            "bit" => self.pick(&["0", "1", "2", "x"]).into(),
            "value" if command == "setbit" => self.pick(&["0", "1", "2", "x"]).into(),
            "protover" => self.pick(&["2", "3"]).into(),
            _ => self.number(INTS),
        }
    }

    fn double(&mut self, command: &str, name: &str) -> Vec<u8> {
        match name {
            "timeout" => self.pick(TIMEOUTS).into(),
            "increment" => self.number(FLOATS),
            "longitude" => self.place()[0].into(),
            "latitude" => self.place()[1].into(),
            "min" | "max" => self.number(SCORE_EDGES),
            "radius" | "width" | "height" => self.number(RADII),
            _ if command == "zadd" => self.number(SCORES),
            _ => self.number(FLOATS),
        }
    }

    fn text(&mut self, command: &str, name: &str) -> Vec<u8> {
        let streams = command.starts_with('x');
        match name {
            "field" => self.field(),
            "member" | "member1" | "member2" | "element" | "pivot" => self.member(),
            "increment" if command == "zincrby" => self.number(SCORES),
            "id" | "last-id" | "max_deleted_entry_id" | "threshold" => self.pick(STREAM_IDS).into(),
            "start" | "end" if streams => self.pick(STREAM_IDS).into(),
            "start" | "stop" => {
                let pool = self.pick(&[INDEXES, SCORE_EDGES, LEX_EDGES]);
                self.number(pool)
            }
            "min" | "max" => self.number(SCORE_EDGES),
            "group" | "groupname" => self.pick(&["g", "h", "none"]).into(),
            "consumer" | "consumername" => self.pick(&["a", "b", "c"]).into(),
            "min-idle-time" => self.pick(&["0", "1000000000", "x"]).into(),
            "channel" | "shardchannel" => self.pick(CHANNELS).into(),
            "operation" => self.pick(&["AND", "OR", "XOR", "NOT", "x"]).into(),
            "encoding" => self
                .pick(&["u8", "i5", "i64", "u63", "u1", "u64", "i65", "x"])
                .into(),
            "section" => self.pick(SECTIONS).into(),
            "command" | "command-name" => self.pick(COMMAND_NAMES).into(),
            "category" | "categoryname" => {
                self.pick(&["string", "hash", "nosuch", "dangerous"]).into()
            }
            "username" => self.pick(&["u1", "u2", "default", "nosuch"]).into(),
            "sha1" => self.pick(script::SHAS).into(),
            "script" => self.pick(script::SOURCES).into(),
            "function-code" => self.pick(script::LIBRARIES).into(),
            "library-name" | "library-name-pattern" => {
                self.pick(&["lib", "lib2", "l*", "nosuch"]).into()
            }
            "type" => self.pick(&["string", "hash", "list", "nosuch"]).into(),
            "subcommand" if command == "pfdebug" => self
                .pick(&["ENCODING", "DECODE", "TODENSE", "GETREG", "NOSUCH"])
                .into(),
            "event" => self.pick(&["command", "nosuch"]).into(),
            "connection-name" | "clientname" => {
                self.pick(&["name", "", "two words", "n\u{e9}"]).into()
            }
            _ => self.value(),
        }
    }

    fn expand(&mut self, words: &str) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        for word in words.split(' ') {
            // A lone sign is a literal.
            let (unit, repeats) = match word.split_at_checked(word.len().saturating_sub(1)) {
                Some((unit, "?")) => (unit, self.rng.random_range(0..2)),
                Some((unit, "+")) if !unit.is_empty() => (unit, self.rng.random_range(1..5)),
                Some((unit, "%")) => (unit, self.rng.random_range(20..MANY_MAX)),
                _ => (word, 1),
            };
            for _ in 0..repeats {
                self.expand_unit(unit, &mut args);
            }
        }
        args
    }

    /// `A:<x>|B:<y>` are alternatives of joined words; `A|B` inside a joined word too.
    fn expand_unit(&mut self, unit: &str, args: &mut Vec<Vec<u8>>) {
        let whole_alternatives = unit.split('|').filter(|part| part.contains(':')).count() > 1;
        let unit = if whole_alternatives {
            self.pick(&unit.split('|').collect::<Vec<_>>())
        } else {
            unit
        };
        for word in unit.split(':') {
            let word: &str = self.pick(&word.split('|').collect::<Vec<_>>());
            let arg = match word {
                "''" => Vec::new(),
                "<key>" => self.key(),
                "<lexkey>" => self.pick(&["l1", "l2"]).into(),
                "<field>" => self.field(),
                "<value>" => self.value(),
                "<member>" => self.member(),
                "<int>" => self.number(INTS),
                "<packed>" => self.packed(),
                "<large>" => vec![b'v'; self.pick(LARGE_LENS)],
                "<bits>" => {
                    let sign = self.pick(&["i", "u"]);
                    format!("{sign}{}", self.rng.random_range(1..66)).into()
                }
                "<bit-offset>" => self.number(BIT_OFFSETS),
                "<setting>" => self.pick(SETTINGS).into(),
                "<setting-name>" => self.pick(DIRECTIVES).0.into(),
                "<float>" => self.number(FLOATS),
                "<index>" => self.pick(INDEXES).into(),
                "<ttl>" => self.number(TTLS),
                "<ttl-ms>" => self.number(TTLS_MS),
                "<at>" => self.number(AT),
                "<at-ms>" => self.number(AT_MS),
                "<later>" => self.number(LATER),
                "<later-ms>" => self.number(LATER_MS),
                "<count>" => self.number(COUNTS),
                "<score>" => self.number(SCORES),
                "<score-edge>" => self.number(SCORE_EDGES),
                "<lex-edge>" => self.number(LEX_EDGES),
                "<place>" => {
                    let [longitude, latitude] = self.place();
                    args.push(longitude.into());
                    latitude.into()
                }
                "<radius>" => self.number(RADII),
                "<pattern>" => self.pick(PATTERNS).into(),
                "<db>" => self.pick(DBS).into(),
                "<id>" => self.pick(STREAM_IDS).into(),
                "<channel>" => self.pick(CHANNELS).into(),
                "<channels>" => self.pick(CHANNEL_PATTERNS).into(),
                "<script>" => self.pick(script::SOURCES).into(),
                "<walk>" => script::WALK.into(),
                "<walk-all>" => script::WALK_ALL.into(),
                "<sha>" => self.pick(script::SHAS).into(),
                "<payload>" => match self.payloads.clone().value(&mut self.rng) {
                    Some(payload) => payload,
                    None => self.value(),
                },
                "<functions>" => match self.payloads.clone().functions(&mut self.rng) {
                    Some(payload) => payload,
                    None => self.value(),
                },
                "<subscriber>" => SUBSCRIBER_ID.into(),
                "<library>" => self.pick(script::LIBRARIES).into(),
                "<directive>" => {
                    let (name, values) = self.pick(DIRECTIVES);
                    args.push(name.into());
                    self.pick(values).into()
                }
                "<line>" => {
                    let rule = GRAMMAR.choose(&mut self.rng).expect("has rules");
                    if !rule.words.contains("<line>") {
                        let line = self.expand(rule.words);
                        args.extend(line);
                    }
                    continue;
                }
                literal => self.literal(literal),
            };
            args.push(arg);
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let few = !self.theme.is_empty() && !self.one_in(3);
        let keys = if few { &KEYS[..THEME_KEYS] } else { KEYS };
        self.pick(keys).into()
    }

    fn field(&mut self) -> Vec<u8> {
        format!("f{}", self.rng.random_range(0..FIELDS)).into()
    }

    /// Good numbers lead each pool; half of the time only those are drawn from.
    fn number(&mut self, pool: &[&'static str]) -> Vec<u8> {
        let pool = if self.one_in(2) { pool } else { &pool[..2] };
        self.pick(pool).into()
    }

    /// Like a number: half of the time one of the first few, which are near each other.
    fn place(&mut self) -> [&'static str; 2] {
        let pool = if self.one_in(2) { PLACES } else { &PLACES[..3] };
        self.pick(pool)
    }

    /// Mostly small integers, so that sets are intsets for a while.
    fn member(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..30) {
            0 => self.value(),
            1 | 2 => self.field(),
            _ => self.rng.random_range(-2..12).to_string().into(),
        }
    }

    /// An element at a border of the packed forms.
    fn packed(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..4) {
            0 => vec![b'p'; self.pick(PACKED_LENS)],
            1 => self.rng.random_range(0..200).to_string().into(),
            _ => self.pick(PACKED_INTS).into(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..12) {
            // Either side of the border between the embedded and the raw string, and of packed hashes.
            0 => vec![b'x'; self.rng.random_range(43..47)],
            1 => vec![b'y'; self.rng.random_range(63..66)],
            2 => (0..self.rng.random_range(1..20))
                .map(|_| self.rng.random())
                .collect(),
            3 => self.number(INTS),
            4 => self.number(FLOATS),
            5 => vec![b'z'; 3000],
            _ => self.pick(WORDS).into(),
        }
    }

    /// Command words are taken in any case.
    fn literal(&mut self, word: &str) -> Vec<u8> {
        if self.one_in(10) {
            word.to_ascii_lowercase().into()
        } else {
            word.into()
        }
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, pool: &[T]) -> T {
        *pool.choose(&mut self.rng).expect("no pool is empty")
    }
}

/// What is asked when a sequence has ended: the digest of the whole keyspace, and what of each key
/// the digest does not show.
fn audit() -> Vec<Step> {
    let ask = |words: &[&str], compare| Step::new(AUDITOR, words, compare);
    let mut steps = vec![ask(&["DEBUG", "DIGEST"], Compare::Exact)];
    for db in DATABASES {
        steps.push(ask(&["SELECT", db], Compare::Exact));
        let mut words = vec!["DEBUG", "DIGEST-VALUE"];
        words.extend(KEYS);
        steps.push(ask(&words, Compare::Exact));
        steps.push(ask(&["KEYS", "*"], Compare::Unordered));
        for &key in KEYS {
            steps.push(ask(&["OBJECT", "ENCODING", key], Compare::Exact));
            steps.push(ask(&["PTTL", key], Compare::Time(2000)));
        }
    }
    steps
}
