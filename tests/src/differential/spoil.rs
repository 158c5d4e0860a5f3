//! Commands that are almost right.

use rand::RngExt;

use super::generate::Generator;
use super::pools::JUNK;

impl Generator {
    /// Makes something else of a command: a word is gone, replaced or one too many. What both servers are known to answer
    /// differently is spared.
    pub(super) fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        /// Take more arguments here than in 7.0.15, as later versions do; how many words they have there.
        const EXTENDED: &[(&[u8], usize)] = &[(b"zrank", 3), (b"zrevrank", 3)];
        // Without its count it takes any member.
        if args[0].eq_ignore_ascii_case(b"spop") {
            return;
        }
        // With another number it would sleep for minutes, or years.
        let sleeps = |word: &Vec<u8>| word.eq_ignore_ascii_case(b"sleep");
        if args[0].eq_ignore_ascii_case(b"debug") && args.get(1).is_some_and(sleeps) {
            return;
        }
        // One of two conditions that exclude each other would compare instants, which the clock of each server made.
        let name = args[0].to_ascii_lowercase();
        let expires = [b"expire".as_slice(), b"pexpire"].contains(&&name[..]);
        let excludes = expires && args.len() > 4;
        // Without a star a pattern leaves a set in an order of the server's own.
        let sorts = name.starts_with(b"sort");
        let is_pattern = |before: &Vec<u8>| sorts && before.eq_ignore_ascii_case(b"by");
        let at = self.rng.random_range(0..args.len());
        let junk = self.pick(JUNK).to_vec();
        match self.rng.random_range(0..4) {
            0 if args.len() > 1 && !excludes => drop(args.pop()),
            1 => args.insert(at.max(1), junk),
            2 if at > 0 && !is_pattern(&args[at - 1]) => args[at] = junk,
            _ => args.push(junk),
        }
        // Without a source it has no keys by its specs, and Redis lets anybody write its destination.
        let merges = |arg: &Vec<u8>| arg.eq_ignore_ascii_case(b"pfmerge");
        if let Some(at) = args.iter().position(merges) {
            args.resize_with(args.len().max(at + 3), || b"k1".to_vec());
        }
        for (name, words) in EXTENDED {
            // In a line that asks for the keys of another, too.
            let at = args.iter().position(|arg| arg.eq_ignore_ascii_case(name));
            if let Some(at) = at {
                args.truncate(at + *words);
            }
        }
    }
}
