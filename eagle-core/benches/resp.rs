//! The wire on its own: a pipeline of 16 SETs read, and its 16 replies written.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eagle_core::resp::{
    Limits, Parser, Protocol, ReplyLimits, ReplyScanner, ReplyStep, Step, Writer,
};

const PIPELINE: usize = 16;

fn requests(value_bytes: usize) -> Vec<u8> {
    let mut writer = Writer::default();
    for key in 0..PIPELINE {
        writer.array(3);
        writer.bulk("SET");
        writer.bulk(format!("key:{key:012}"));
        writer.bulk("v".repeat(value_bytes));
    }
    writer.as_bytes().to_vec()
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for value_bytes in [3, 1024] {
        let requests = requests(value_bytes);
        let (mut parser, limits) = (Parser::new(), Limits::default());
        group.bench_function(format!("set-{value_bytes}"), |b| {
            b.iter(|| {
                let mut rest = black_box(&requests[..]);
                let mut args = 0;
                while let Ok(Step::Command { consumed }) = parser.next(rest, &limits) {
                    args += black_box(parser.argv(rest)).len();
                    rest = &rest[consumed..];
                }
                args
            });
        });
    }
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let mut writer = Writer::new(Protocol::Resp2);
    let value = [b'v'; 100];
    group.bench_function("ok", |b| {
        b.iter(|| {
            (0..PIPELINE).for_each(|_| writer.ok());
            black_box(writer.as_bytes());
            writer.clear();
        });
    });
    group.bench_function("bulk-100", |b| {
        b.iter(|| {
            (0..PIPELINE).for_each(|_| writer.bulk(black_box(value)));
            black_box(writer.as_bytes());
            writer.clear();
        });
    });
    group.bench_function("deferred", |b| {
        b.iter(|| {
            for _ in 0..PIPELINE {
                let header = writer.deferred();
                writer.bulk(black_box(value));
                writer.finish_array(header, 1);
            }
            black_box(writer.as_bytes());
            writer.clear();
        });
    });
    group.finish();
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let replies = requests(100);
    let (mut scanner, limits) = (ReplyScanner::new(), ReplyLimits::default());
    group.bench_function("array-of-3", |b| {
        b.iter(|| {
            let (mut rest, mut found) = (black_box(&replies[..]), 0);
            while let Ok(ReplyStep::Whole { len }) = scanner.next(rest, &limits) {
                rest = &rest[len..];
                found += 1;
            }
            found
        });
    });
    group.finish();
}

criterion_group!(benches, parse, write, scan);
criterion_main!(benches);
