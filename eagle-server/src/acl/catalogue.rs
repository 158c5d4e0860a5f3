//! The commands as access control sees them.

use hashbrown::HashMap;

/// One command or subcommand.
#[derive(Debug)]
pub struct CommandRow {
    /// `get`, `config|set`. The name it is declared with: rules outlive `rename-command`.
    pub name: &'static str,
    /// A bit for each category, in the order of [`Catalogue::categories`].
    pub categories: u32,
    /// The container's row.
    pub parent: Option<usize>,
    /// Everybody may run it, even before AUTH.
    pub is_open: bool,
}

/// Every command of the server. A row's position is the command's number in bitmaps.
#[derive(Debug)]
pub struct Catalogue {
    categories: &'static [&'static str],
    rows: Vec<CommandRow>,
    by_name: HashMap<&'static str, usize>,
    subcommands: Vec<Vec<usize>>,
}

impl Catalogue {
    /// A catalogue of `rows`, in which containers stand before their subcommands.
    pub fn new(categories: &'static [&'static str], rows: Vec<CommandRow>) -> Catalogue {
        let by_name = rows
            .iter()
            .enumerate()
            .map(|(id, row)| (row.name, id))
            .collect();
        let mut subcommands = vec![Vec::new(); rows.len()];
        for (id, row) in rows.iter().enumerate() {
            if let Some(parent) = row.parent {
                subcommands[parent].push(id);
            }
        }
        Catalogue {
            categories,
            rows,
            by_name,
            subcommands,
        }
    }

    /// Names of the categories, without the `@`.
    pub fn categories(&self) -> &'static [&'static str] {
        self.categories
    }

    pub fn rows(&self) -> &[CommandRow] {
        &self.rows
    }

    /// The number of the command called `name`, in any case.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.by_name.get(name.as_str()).copied()
    }

    /// The bit of the category called `name`, in any case.
    pub fn category(&self, name: &[u8]) -> Option<u32> {
        let found = self
            .categories
            .iter()
            .position(|category| category.as_bytes().eq_ignore_ascii_case(name));
        found.map(|bit| 1 << bit)
    }

    /// The subcommands of `container`; none if it is no container.
    pub fn subcommands(&self, container: usize) -> &[usize] {
        &self.subcommands[container]
    }

    /// Commands and subcommands that `bit` is about.
    pub fn in_category(&self, bit: u32) -> impl Iterator<Item = usize> + '_ {
        self.rows
            .iter()
            .enumerate()
            .filter(move |(_, row)| row.categories & bit != 0)
            .map(|(id, _)| id)
    }
}
