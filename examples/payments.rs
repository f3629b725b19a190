//! Payments: a customer who clicks "pay" five times must be charged once.
//!
//! Watch: every click asks whether the order is paid, charges the card, and notes that it is
//! paid. Without a lock manager all clicks ask before the first one notes anything. With one, the
//! clicks of one order come one after the other, while other orders are paid at the same time.
//!
//! `cargo run -p examples --example payments`
//!
//! With `LOCK_URL` the locks live where it says, and the charges in a folder that other processes
//! see: `$PAYMENTS_LEDGER`, or `payments-ledger` in the folder for temporary files. For
//! `$PAYMENTS_SECONDS` (10) the customers order anew every second, and click in all processes.
//! Start it in two terminals:
//!
//! `LOCK_URL=unix:/run/lockd/lockd.sock cargo run -p examples --example payments`

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lock_runtime::{LockManager, locked, set_lock_manager_late};
use tokio::task::JoinSet;

const ORDERS: [&str; 3] = ["A-17", "B-4", "C-128"];
const CLICKS: usize = 5;

struct Payments {
    ledger: Ledger,
    at_the_gateway: AtomicUsize,
    most_at_the_gateway: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receipt {
    Charged,
    WasPaidAlready,
}

impl Payments {
    fn new(ledger: Ledger) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            at_the_gateway: AtomicUsize::new(0),
            most_at_the_gateway: AtomicUsize::new(0),
        })
    }

    /// Charges the card for an order, once. Each order has a lock of its own.
    #[locked("payment:{order_id}")]
    async fn process_payment(&self, order_id: &str) -> io::Result<Receipt> {
        if self.ledger.charges(order_id)? > 0 {
            return Ok(Receipt::WasPaidAlready);
        }
        self.charge_card().await;
        self.ledger.note_charge(order_id)?;
        Ok(Receipt::Charged)
    }

    async fn charge_card(&self) {
        let now = self.at_the_gateway.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_the_gateway.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.at_the_gateway.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Where the charges are noted.
enum Ledger {
    /// In this process.
    Memory(Mutex<Vec<String>>),
    /// In a folder, for all processes: a file for each order, with a line for each charge.
    Folder(PathBuf),
}

impl Ledger {
    fn charges(&self, order_id: &str) -> io::Result<usize> {
        match self {
            Self::Memory(charges) => {
                let charges = charges.lock().unwrap();
                Ok(charges.iter().filter(|paid| *paid == order_id).count())
            }
            Self::Folder(folder) => match fs::read_to_string(folder.join(order_id)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
                charges => Ok(charges?.lines().count()),
            },
        }
    }

    fn note_charge(&self, order_id: &str) -> io::Result<()> {
        match self {
            Self::Memory(charges) => charges.lock().unwrap().push(order_id.to_owned()),
            Self::Folder(folder) => {
                let file = folder.join(order_id);
                let mut file = File::options().append(true).create(true).open(file)?;
                writeln!(file, "charged by process {}", std::process::id())?;
            }
        }
        Ok(())
    }
}

/// What became of some orders.
#[derive(Default)]
struct Totals {
    orders: usize,
    charges: usize,
    charged_here: usize,
}

impl Totals {
    fn too_many(&self) -> usize {
        self.charges - self.orders
    }
}

/// Every customer clicks several times at once.
async fn impatient_customers(payments: &Arc<Payments>, orders: &[String]) -> io::Result<Totals> {
    let mut clicks = JoinSet::new();
    for order_id in orders {
        for _ in 0..CLICKS {
            let (payments, order_id) = (Arc::clone(payments), order_id.clone());
            clicks.spawn(async move { payments.process_payment(&order_id).await });
        }
    }
    let receipts: io::Result<Vec<Receipt>> = clicks.join_all().await.into_iter().collect();
    let charged = |receipt: &&Receipt| **receipt == Receipt::Charged;
    let mut totals = Totals {
        orders: orders.len(),
        charged_here: receipts?.iter().filter(charged).count(),
        charges: 0,
    };
    for order_id in orders {
        let charges = payments.ledger.charges(order_id)?;
        assert!(charges > 0, "{order_id} is paid");
        totals.charges += charges;
    }
    Ok(totals)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    println!("{} orders, {CLICKS} clicks each.", ORDERS.len());
    let orders = ORDERS.map(str::to_owned);

    let payments = in_memory();
    let totals = impatient_customers(&payments, &orders).await?;
    let (charges, too_many) = (totals.charges, totals.too_many());
    println!("Without a lock manager: {charges} charges, {too_many} too many.");
    assert_eq!(charges, totals.charged_here);
    assert!(too_many > 0, "clicks that overlap all charge the card");

    // A service sets its manager first thing in `main`; this one wanted to show the difference.
    let manager = LockManager::from_env().await?;
    let is_shared = manager.is_some();
    set_lock_manager_late(manager.unwrap_or_else(LockManager::memory))?;

    let (payments, totals) = if is_shared {
        let payments = in_folder()?;
        let totals = every_second(&payments).await?;
        (payments, totals)
    } else {
        let payments = in_memory();
        let totals = impatient_customers(&payments, &orders).await?;
        assert_eq!(totals.charges, totals.charged_here);
        (payments, totals)
    };
    let (charges, too_many) = (totals.charges, totals.too_many());
    let at_once = payments.most_at_the_gateway.load(Ordering::SeqCst);
    println!(
        "With a lock manager:    {charges} charges, {too_many} too many, {at_once} orders at once."
    );
    assert_eq!(too_many, 0);
    let elsewhere = charges - totals.charged_here;
    if elsewhere > 0 {
        println!("Other processes made {elsewhere} of these charges.");
    } else {
        assert!(at_once > 1, "two orders do not wait for each other");
    }
    Ok(())
}

/// The customers order anew every second: in all processes the same, by the wall clock.
async fn every_second(payments: &Arc<Payments>) -> io::Result<Totals> {
    let seconds = std::env::var("PAYMENTS_SECONDS");
    let seconds = seconds.map_or(10, |seconds| {
        seconds.parse().expect("PAYMENTS_SECONDS is a number")
    });
    let mut totals = Totals::default();
    for _ in 0..seconds {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_err(io::Error::other)?;
        let next = now.as_secs() + 1;
        tokio::time::sleep(Duration::from_secs(next) - now).await;
        let orders = ORDERS.map(|order_id| format!("{order_id}.{next}"));
        let these = impatient_customers(payments, &orders).await?;
        println!(
            "Second {next}: {} charges, {} of them by this process.",
            these.charges, these.charged_here
        );
        totals.orders += these.orders;
        totals.charges += these.charges;
        totals.charged_here += these.charged_here;
    }
    Ok(totals)
}

fn in_memory() -> Arc<Payments> {
    Payments::new(Ledger::Memory(Mutex::default()))
}

fn in_folder() -> io::Result<Arc<Payments>> {
    let folder = match std::env::var_os("PAYMENTS_LEDGER") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join("payments-ledger"),
    };
    fs::create_dir_all(&folder)?;
    println!("The charges are noted in {}.", folder.display());
    Ok(Payments::new(Ledger::Folder(folder)))
}
