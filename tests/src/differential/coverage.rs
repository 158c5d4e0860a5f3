//! Which commands, and which literal words of their syntax, have been generated.

use std::collections::{BTreeMap, BTreeSet};

use super::docs::Documented;
use super::policy::{Policy, policy};
use super::{Step, script};

/// Counts of what a run has sent.
#[derive(Debug, Default)]
pub struct Coverage {
    commands: BTreeMap<String, u64>,
    tokens: BTreeSet<(String, String)>,
}

impl Coverage {
    /// Counts the steps of a sequence.
    pub fn add(&mut self, table: &[Documented], steps: &[Step]) {
        for step in steps {
            let words: Vec<String> = step
                .args
                .iter()
                .map(|arg| String::from_utf8_lossy(arg).to_ascii_uppercase())
                .collect();
            let Some(command) = table
                .iter()
                .filter(|command| words.starts_with(&command.words))
                .max_by_key(|command| command.words.len())
            else {
                continue;
            };
            *self.commands.entry(command.name.clone()).or_default() += 1;
            let mut tokens = Vec::new();
            command
                .arguments
                .iter()
                .for_each(|argument| argument.tokens(&mut tokens));
            for token in tokens {
                if words[command.words.len()..]
                    .iter()
                    .any(|word| word == token)
                {
                    self.tokens.insert((command.name.clone(), token.to_owned()));
                }
            }
        }
    }

    /// Commands of the table that were never generated, without those that must not be.
    pub fn missing(&self, table: &[Documented]) -> Vec<String> {
        table
            .iter()
            .filter(|command| !command.is_container)
            .filter(|command| !matches!(policy(&command.name), Some(Policy::Never(_))))
            .filter(|command| !self.commands.contains_key(&command.name))
            .map(|command| command.name.clone())
            .collect()
    }

    /// Commands that must not be generated and were.
    pub fn forbidden(&self) -> Vec<&str> {
        self.commands
            .keys()
            .filter(|name| matches!(policy(name), Some(Policy::Never(_))))
            .map(String::as_str)
            .collect()
    }

    /// Literal words of the table that were never generated.
    pub fn missing_tokens(&self, table: &[Documented]) -> Vec<String> {
        let mut missing = Vec::new();
        for command in table {
            if matches!(policy(&command.name), Some(Policy::Never(_))) {
                continue;
            }
            let mut tokens = Vec::new();
            command
                .arguments
                .iter()
                .for_each(|argument| argument.tokens(&mut tokens));
            tokens.sort_unstable();
            tokens.dedup();
            missing.extend(
                tokens
                    .iter()
                    .filter(|token| {
                        let both = (command.name.clone(), (**token).to_owned());
                        !self.tokens.contains(&both)
                    })
                    .map(|token| format!("{} {token}", command.name)),
            );
        }
        missing
    }

    /// One paragraph about what was sent.
    pub fn summary(&self, table: &[Documented]) -> String {
        let due = |command: &&Documented| {
            !command.is_container && !matches!(policy(&command.name), Some(Policy::Never(_)))
        };
        let sent: u64 = self.commands.values().sum();
        let missing = self.missing_tokens(table);
        format!(
            "{sent} commands of {} kinds of {}; {} literal words, {} of them missing: {}; {} forms of scripts",
            table
                .iter()
                .filter(due)
                .filter(|command| self.commands.contains_key(&command.name))
                .count(),
            table.iter().filter(due).count(),
            self.tokens.len() + missing.len(),
            missing.len(),
            missing.join(", "),
            script::FORMS,
        )
    }
}
