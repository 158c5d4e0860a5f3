//! Commands queued between MULTI and EXEC.

use zeroize::Zeroize;

/// One queued command with arguments of its own.
pub struct Queued {
    /// The command's place in the command table.
    pub command_id: usize,
    pub argv: Box<[Box<[u8]>]>,
    /// Among the arguments may be passwords: they are wiped when the command is dropped.
    has_secrets: bool,
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.has_secrets {
            self.argv.iter_mut().for_each(|word| word.zeroize());
        }
    }
}

impl Queued {
    pub fn new(command_id: usize, argv: &[&[u8]], has_secrets: bool) -> Queued {
        Queued {
            command_id,
            argv: argv.iter().map(|word| Box::from(*word)).collect(),
            has_secrets,
        }
    }

    /// The arguments as the handler takes them.
    pub fn words(&self) -> Vec<&[u8]> {
        self.argv.iter().map(|word| &**word).collect()
    }

    fn bytes(&self) -> usize {
        self.argv
            .iter()
            .map(|word| word.len() + size_of::<Box<[u8]>>())
            .sum::<usize>()
            + size_of::<Queued>()
    }
}

/// An open transaction.
#[derive(Default)]
pub struct Multi {
    queue: Vec<Queued>,
    bytes: usize,
    /// A command was refused while queueing: EXEC will fail.
    pub aborted: bool,
    /// The slot of its keys, as far as it matters (`cluster-routing proxy`).
    pub slot: Option<u16>,
    /// The address of the other node where its keys were when they were queued.
    pub elsewhere: Option<String>,
}

impl Multi {
    pub fn push(&mut self, queued: Queued) {
        self.bytes += queued.bytes();
        self.queue.push(queued);
    }

    pub fn queue(&self) -> &[Queued] {
        &self.queue
    }

    pub fn into_queue(self) -> Vec<Queued> {
        self.queue
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Memory that the queue holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
