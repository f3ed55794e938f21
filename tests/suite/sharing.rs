//! Threads, executors, several sessions, and runs that are dropped half-way.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use wgru::{
    CreatedObjects, Device, Directions, Error, GpuContext, Gru, Output, PlanOptions, Session,
};

use crate::EngineTest;
use crate::compare::same_output;
use crate::engines::{Engine, On};
use crate::laws::{networks, run};
use crate::problem::{DIRECTIONS, Given, Network, Problem, RESETS, config};

pub(crate) const TESTS: &[EngineTest] = &[
    ("a_session_a_thread", On::All, a_session_a_thread),
    ("sessions_share_a_device", On::All, sessions_share_a_device),
    ("async_runs_under_any_executor", On::All, async_runs_under_any_executor),
    ("dropped_runs_leave_the_session_usable", On::All, dropped_runs_leave_the_session_usable),
];

const GIVEN: Given = Given { state: true, lengths: true, mask: false, batch_first: false };

/// What users may rely on is checked when the suite is compiled.
const fn is_send_and_sync<T: Send + Sync>() {}
const fn is_send<T: Send>() {}
const _: () = {
    is_send_and_sync::<Gru>();
    is_send_and_sync::<Device>();
    is_send_and_sync::<GpuContext>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Output>();
    is_send_and_sync::<CreatedObjects>();
    is_send::<Session>();
};

fn a_session_a_thread(engine: &Engine) {
    for reset in RESETS {
        let config = config([5, 17, 2], Directions::Bidirectional, reset);
        let gru = Network::random(config, true, 51).gru();
        let problems: Vec<Problem> = (0..4)
            .map(|seed| Problem::new(gru.clone(), [4 + seed, 3 + seed], GIVEN, seed as u64))
            .collect();
        let alone: Vec<Output> = problems
            .iter()
            .map(|problem| run(&mut engine.session(&gru, &problem.inputs()), &problem.inputs()))
            .collect();
        thread::scope(|scope| {
            for (problem, want) in problems.iter().zip(&alone) {
                let gru = &gru;
                scope.spawn(move || {
                    let mut session = engine.session(gru, &problem.inputs());
                    for _ in 0..3 {
                        same_output("beside others", &run(&mut session, &problem.inputs()), want);
                    }
                });
            }
        });
    }
}

fn sessions_share_a_device(engine: &Engine) {
    let problems: Vec<Problem> = networks(&DIRECTIONS)
        .into_iter()
        .map(|network| Problem::new(network.gru(), [3, 4], GIVEN, 52))
        .collect();
    let mut sessions: Vec<Session> =
        problems.iter().map(|problem| engine.session(&problem.gru, &problem.inputs())).collect();
    let mut results: Vec<Vec<Output>> = Vec::new();
    for _ in 0..2 {
        let each = sessions.iter_mut().zip(&problems);
        results.push(each.map(|(session, problem)| run(session, &problem.inputs())).collect());
    }
    // A session that is alone gives the same.
    drop(sessions);
    for (index, problem) in problems.iter().enumerate() {
        let want = run(&mut engine.session(&problem.gru, &problem.inputs()), &problem.inputs());
        for round in &results {
            same_output("in turn with others", &round[index], &want);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The least that an executor can be: polls all futures on its thread, and sleeps until woken.
fn run_all<T>(mut futures: Vec<Running<'_, T>>) -> Vec<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    while results.iter().any(Option::is_none) {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(&mut context)
            {
                *result = Some(value);
            }
        }
        if results.iter().any(Option::is_none) {
            // A lost wake-up fails here instead of hanging.
            let before = std::time::Instant::now();
            thread::park_timeout(Duration::from_secs(120));
            assert!(before.elapsed() < Duration::from_secs(120), "nobody woke the executor");
        }
    }
    results.into_iter().flatten().collect()
}

fn async_runs_under_any_executor(engine: &Engine) {
    let problems: Vec<Problem> = networks(&DIRECTIONS)
        .into_iter()
        .map(|network| Problem::new(network.gru(), [5, 4], GIVEN, 53))
        .collect();
    let mut sessions: Vec<Session> =
        problems.iter().map(|problem| engine.session(&problem.gru, &problem.inputs())).collect();
    let blocking: Vec<Output> = sessions
        .iter_mut()
        .zip(&problems)
        .map(|(session, problem)| run(session, &problem.inputs()))
        .collect();

    for ((session, problem), want) in sessions.iter_mut().zip(&problems).zip(&blocking) {
        let got = pollster::block_on(session.run_async(&problem.inputs())).unwrap();
        same_output("under pollster", &got, want);
    }

    // All at once, on another thread.
    let inputs: Vec<_> = problems.iter().map(Problem::inputs).collect();
    let results = thread::scope(|scope| {
        let (sessions, inputs) = (&mut sessions, &inputs);
        let executor = scope.spawn(move || {
            let futures = sessions.iter_mut().zip(inputs).map(|(session, inputs)| {
                Box::pin(session.run_async(inputs)) as Running<'_, wgru::Result<Output>>
            });
            run_all(futures.collect())
        });
        executor.join().expect("the executor's thread ends")
    });
    for (got, want) in results.into_iter().zip(&blocking) {
        same_output("under an executor of few lines", &got.unwrap(), want);
    }
}

/// Runs are polled a few times and dropped; the next run of the session is as if nothing was.
fn dropped_runs_leave_the_session_usable(engine: &Engine) {
    for (reset, directions) in RESETS.into_iter().zip([DIRECTIONS[2], DIRECTIONS[0]]) {
        let gru = Network::random(config([4, 9, 2], directions, reset), true, 54).gru();
        let problem = Problem::new(gru.clone(), [200, 3], GIVEN, 55);
        let other = Problem::new(gru.clone(), [200, 3], GIVEN, 56);
        // Little memory makes many pieces, and a run that waits often.
        let options = PlanOptions { memory_budget: Some(50_000), ..PlanOptions::default() };
        let mut session = engine.session_with(&gru, problem.shape(), &options);
        let want = run(&mut session, &problem.inputs());
        // Unpolled ones are dropped everywhere; only a GPU's can be dropped while they run, where
        // it has not been too quick for that.
        let least = if engine.is_gpu() { 3 } else { 1 };
        let mut dropped = 0;
        let more = std::iter::repeat_n(1, 200);
        for (round, polls) in (0..6).chain(more).enumerate() {
            if round >= 6 && dropped >= least {
                break;
            }
            {
                let inputs = other.inputs();
                let mut future = pin!(session.run_async(&inputs));
                let mut context = Context::from_waker(Waker::noop());
                let mut finished = false;
                for _ in 0..polls {
                    finished = future.as_mut().poll(&mut context).is_ready();
                    if finished {
                        break;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                dropped += usize::from(!finished);
            }
            let what = format!("after a run dropped at its poll {polls}");
            match round % 2 {
                0 => same_output(&what, &run(&mut session, &problem.inputs()), &want),
                _ => {
                    let got = pollster::block_on(session.run_async(&problem.inputs())).unwrap();
                    same_output(&what, &got, &want);
                }
            }
        }
        assert!(dropped >= least, "{dropped} runs were dropped before their end");
    }
}
