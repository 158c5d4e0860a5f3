//! Records the tables in `golden/` from a running redis-server 7.0.15, and compares as it goes.
//!
//! ```text
//! redis-server --save "" --port 7731
//! cargo run -p eagle-core --example redis_oracle -- 127.0.0.1:7731 long_double 3000 1 > rows
//! ```
//!
//! Arguments: address, table, rows, seed. Rows go to standard output, one a line, each field quoted;
//! differences from this crate go to standard error, and make the exit status 1. The server must
//! hold nothing of value: keys that begin with `oracle` are overwritten.

mod ours;

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use eagle_core::resp::{Protocol, Reply, ReplyLimits, Writer};
use eagle_core::text::split_args::quoted;

use ours::{Fields, TABLES, one};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, table, rows, seed] = args.as_slice() else {
        return Err("usage: redis_oracle ADDRESS TABLE ROWS SEED".into());
    };
    let (name, _, ours) = TABLES
        .into_iter()
        .find(|(name, ..)| name == table)
        .ok_or("no such table")?;
    let mut random = Random(seed.parse()?);
    let mut server = Server::connect(address)?;
    let mut differences = 0;
    for _ in 0..rows.parse()? {
        let input = random.input(name);
        let theirs = server.ask(name, &input)?;
        if ours(&input) != theirs {
            differences += 1;
            eprintln!(
                "{} ours: {}",
                line(&[&input[..], &theirs].concat()),
                line(&ours(&input))
            );
        }
        println!("{}", line(&[input, theirs].concat()));
    }
    eprintln!("{name}: {rows} rows, {differences} differences");
    if differences > 0 {
        Err("there are differences".into())
    } else {
        Ok(())
    }
}

fn line(fields: &[Vec<u8>]) -> String {
    String::from_utf8(
        fields
            .iter()
            .map(|field| quoted(field))
            .collect::<Vec<_>>()
            .join(&b' '),
    )
    .expect("quoted fields are ASCII")
}

struct Server {
    address: String,
    stream: TcpStream,
}

impl Server {
    fn connect(address: &str) -> std::io::Result<Self> {
        Ok(Self {
            address: address.to_owned(),
            stream: TcpStream::connect(address)?,
        })
    }

    fn ask(&mut self, table: &str, input: &[Vec<u8>]) -> Result<Fields, Box<dyn Error>> {
        match table {
            "long_double" => {
                self.call(&[b"SET", b"oracle", &input[0]])?;
                Ok(one(text(self.call(&[
                    b"INCRBYFLOAT",
                    b"oracle",
                    &input[1],
                ])?)))
            }
            "double" => {
                self.call(&[b"DEL", b"oracle"])?;
                // A long member makes it a skip list: the packed form stores -0 as 0.
                let member = [b'm'; 100];
                self.call(&[b"ZADD", b"oracle", &input[0], &member])?;
                Ok(one(text(self.call(&[b"ZSCORE", b"oracle", &member])?)))
            }
            "glob" => {
                self.call(&[b"DEL", b"oracle"])?;
                self.call(&[b"SADD", b"oracle", &input[1]])?;
                let found = self.call(&[b"SSCAN", b"oracle", b"0", b"MATCH", &input[0]])?;
                Ok(one(yes_or_no(matches!(found, Reply::Array(parts)
                    if parts[1] != Reply::Array(Vec::new())))))
            }
            "glob_nocase" => {
                let list: [&[u8]; 5] = [b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN", &input[0]];
                let Reply::Array(found) = self.call(&list)? else {
                    return Err("COMMAND LIST gave no array".into());
                };
                Ok(one(yes_or_no(
                    found.contains(&Reply::Bulk(input[1].clone())),
                )))
            }
            _ => self.split(&input[0]),
        }
    }

    /// Lets the server split the line of an inline command.
    fn split(&mut self, line: &[u8]) -> Result<Fields, Box<dyn Error>> {
        self.call(&[b"DEL", b"oracle"])?;
        self.stream
            .write_all(&[b"RPUSH oracle first ", line, b"\r\n"].concat())?;
        if let Reply::Error(_) = self.reply()? {
            // The server has closed the connection.
            *self = Self::connect(&self.address)?;
            return Ok(one(None));
        }
        match self.call(&[b"LRANGE", b"oracle", b"1", b"-1"])? {
            Reply::Array(args) => Ok(args.into_iter().filter_map(text).collect()),
            _ => Err("LRANGE gave no array".into()),
        }
    }

    fn call(&mut self, args: &[&[u8]]) -> Result<Reply, Box<dyn Error>> {
        let mut request = Writer::new(Protocol::Resp2);
        request.array(args.len());
        args.iter().for_each(|arg| request.bulk(arg));
        self.stream.write_all(request.as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, Box<dyn Error>> {
        let mut buf = Vec::new();
        loop {
            if let Some((reply, _)) = Reply::parse(&buf, &ReplyLimits::default())? {
                return Ok(reply);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err("connection closed".into()),
                n => buf.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

fn text(reply: Reply) -> Option<Vec<u8>> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

fn yes_or_no(yes: bool) -> Option<Vec<u8>> {
    Some(if yes { b"yes".to_vec() } else { b"no".to_vec() })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    fn word(&mut self, alphabet: &[u8], len_max: u64) -> Vec<u8> {
        (0..self.below(len_max + 1))
            .map(|_| *self.pick(alphabet))
            .collect()
    }

    fn input(&mut self, table: &str) -> Fields {
        match table {
            "long_double" => vec![self.number(4_990), self.number(4_990)],
            "double" => vec![self.number(330)],
            "glob" => {
                let text = self.word(b"abbccA]-^\xe9\x00", 6);
                let mut pattern = match self.below(3) {
                    0 => self.word(b"abc***?[]^\\-\xe9", 9),
                    _ => text.clone(),
                };
                for _ in 0..self.below(4).min(pattern.len() as u64) {
                    let at = self.below(pattern.len() as u64) as usize;
                    let element =
                        self.pick(&["*", "**", "?", "[a-c]", "[^a]", "\\b", "[]c]", "[^"]);
                    pattern.splice(at..=at, element.bytes());
                }
                // SSCAN does not match against a lone star at all.
                if pattern == b"*" {
                    pattern.push(b'*');
                }
                vec![pattern, text]
            }
            "glob_nocase" => {
                let name = *self.pick(&["get", "set", "zadd", "brpoplpush", "cluster", "xinfo"]);
                let mut pattern = name.as_bytes().to_vec();
                for _ in 0..self.below(4) {
                    let at = self.below(pattern.len() as u64) as usize;
                    let element = self
                        .pick(&["*", "?", "[A-P]", "[^s]", "\\S", "[\\e]", "[Z-a]", "[E"])
                        .as_bytes();
                    pattern.splice(at..=at, element.iter().copied());
                }
                if self.below(2) == 0 {
                    pattern.make_ascii_uppercase();
                }
                vec![pattern, name.as_bytes().to_vec()]
            }
            _ => {
                let quote = *self.pick(&["", "\"", "'"]);
                let word = self.word(b"abn0fxx\\\\ \t\x0b\xff\"'", 10);
                vec![[quote.as_bytes(), &word, quote.as_bytes()].concat()]
            }
        }
    }

    /// A number, mostly one that is read, of every size and spelling.
    fn number(&mut self, exponent_max: u64) -> Vec<u8> {
        let mut text = self.pick(&["", "", "", "-", "+"]).as_bytes().to_vec();
        match self.below(12) {
            0 => text.extend_from_slice(
                self.pick(&["inf", "Infinity", "nan", "", ".", " 1", "1e", "0x"])
                    .as_bytes(),
            ),
            1 | 2 => {
                text.extend_from_slice(b"0x");
                text.extend(self.word(b"0123456789abcdefF", 20));
                if self.below(2) == 0 {
                    text.push(b'.');
                    text.extend(self.word(b"08f", 20));
                }
                if self.below(2) == 0 {
                    let bound = *self.pick(&[70, 70, 70, 4 * exponent_max]);
                    let power = self.below(2 * bound) as i64 - bound as i64;
                    text.extend(format!("p{power}").bytes());
                }
            }
            kind => {
                text.extend(self.word(b"0123456789", 20));
                if kind < 10 {
                    text.push(b'.');
                    text.extend(self.word(b"0123456789", 22));
                }
                if kind < 6 {
                    let bound = *self.pick(&[20, 20, 20, 20, 20, exponent_max]);
                    text.extend(
                        format!("e{}", self.below(2 * bound) as i64 - bound as i64).bytes(),
                    );
                }
            }
        }
        text
    }
}
