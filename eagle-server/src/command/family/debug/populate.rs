//! DEBUG POPULATE: many keys at once, for tests.

use crate::command::call;
use crate::command::errors::CommandError;
use crate::node::Thread;
use eagle_core::store::{StoreError, StringForm, Ttl, View, key_slot};
use std::rc::Rc;

/// What to make: strings `prefix:0` to `prefix:<count - 1>`.
pub(super) struct Population {
    pub db: u8,
    pub count: u64,
    pub prefix: Vec<u8>,
    /// Length of each value; 0 leaves `value:<number>` as it is.
    pub value_bytes: usize,
}

/// Keys made in one transaction of the pool.
const CHUNK: u64 = 256;

impl Population {
    /// Makes the keys that do not exist, a chunk at a time so that other clients get their turns;
    /// the reply.
    pub async fn run(self, thread: Rc<Thread>) -> Vec<u8> {
        for first in (0..self.count).step_by(CHUNK as usize) {
            let keys: Vec<(u64, Vec<u8>)> = (first..self.count.min(first + CHUNK))
                .map(|number| (number, self.key(number)))
                .collect();
            let mut slots: Vec<u16> = keys.iter().map(|(_, key)| key_slot(key)).collect();
            slots.sort_unstable();
            slots.dedup();
            let made = call::apply(&thread, &slots, |view, _, _| self.make(view, &keys));
            if let Err(error) = made {
                let error = CommandError::from(error);
                thread.stats.error_replies.add(1);
                thread.node.errors.record(error.code());
                return format!("-{}\r\n", error.text()).into_bytes();
            }
            tokio::task::yield_now().await;
        }
        b"+OK\r\n".to_vec()
    }

    fn make(&self, view: &mut View<'_>, keys: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
        for (number, key) in keys {
            if view.find(self.db, key).is_none() {
                let value = self.value(*number);
                view.set_string(self.db, key, &value, StringForm::Plain, Ttl::Clear)?;
            }
        }
        Ok(())
    }

    fn key(&self, number: u64) -> Vec<u8> {
        [&self.prefix, format!(":{number}").as_bytes()].concat()
    }

    /// `value:<number>`, cut or filled with zero bytes to the length asked for.
    fn value(&self, number: u64) -> Vec<u8> {
        let mut value = format!("value:{number}").into_bytes();
        if self.value_bytes > 0 {
            value.resize(self.value_bytes, 0);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_length_asked_for() {
        let mut population = Population {
            db: 0,
            count: 1,
            prefix: b"key".to_vec(),
            value_bytes: 0,
        };
        assert_eq!(population.key(12), b"key:12");
        assert_eq!(population.value(12), b"value:12");
        population.value_bytes = 5;
        assert_eq!(population.value(12), b"value");
        population.value_bytes = 10;
        assert_eq!(population.value(12), b"value:12\0\0");
    }
}
