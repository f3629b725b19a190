//! Methods of traits, native ones and those of `#[async_trait]`.

use async_trait::async_trait;
use lock_runtime::{Caller, auth, locked};

use crate::{R, name_of, on_memory};

trait Native {
    async fn required(&self, id: u8) -> R<String>;

    fn declared(&self, id: u8) -> impl Future<Output = R<String>> + Send;

    #[locked("default:{id}", guard = held)]
    async fn provided(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("default:{id}", guard = held)]
    fn provided_sync(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }
}

struct Board {
    id: u8,
}

impl Native for Board {
    #[locked("native:{self.id}:{id}", guard = held)]
    async fn required(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("native:{self.id}:{id}", guard = held)]
    async fn declared(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }
}

#[tokio::test]
async fn native_async_traits() {
    on_memory(async |_| {
        let board = Board { id: 1 };
        assert_eq!(board.required(2).await.unwrap(), "native:1:2");
        assert_eq!(board.declared(2).await.unwrap(), "native:1:2");
        assert_eq!(board.provided(2).await.unwrap(), "default:2");
        assert_eq!(board.provided_sync(2).unwrap(), "default:2");
    })
    .await;
}

#[async_trait]
trait Boxed: Sync {
    async fn by_ref(&self, text: &str, pair: (u8, u8)) -> R<String>;
    async fn by_mut(&mut self, list: Vec<u8>) -> R<String>;
    async fn by_value(self, id: u8) -> R<String>;
    async fn associated(id: u8) -> R<String>;
    async fn opaque(&self) -> R<usize>;
    async fn nothing(&self, ran: &mut bool);
    async fn rebound(&self, text: &str) -> R<usize>;

    #[locked("default:{id}", guard = held)]
    async fn with_default(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }
}

#[async_trait]
impl Boxed for Board {
    #[locked("boxed:{self.id}:{text}:{b}:{own}", own = self.id + a, guard = held)]
    async fn by_ref(&self, text: &str, (a, b): (u8, u8)) -> R<String> {
        if a == 0 {
            return Ok(String::new());
        }
        Ok(name_of(held))
    }

    #[locked("boxed:{self.id}:{list:?}", guard = held)]
    async fn by_mut(&mut self, mut list: Vec<u8>) -> R<String> {
        self.id += 1;
        list.push(self.id);
        Ok(name_of(held))
    }

    #[locked("boxed:{self.id}:{id}", guard = held)]
    async fn by_value(mut self, id: u8) -> R<String> {
        self.id += id;
        assert_eq!(self.id, 7);
        Ok(name_of(held))
    }

    #[locked("boxed:{id}", guard = held)]
    async fn associated(id: u8) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("boxed:{self.id}", try, on_busy = |_| Ok(usize::from(self.id)))]
    async fn opaque(&self) -> R<usize> {
        Ok(99)
    }

    #[locked("nothing:{self.id}", on_error = |_| ())]
    async fn nothing(&self, ran: &mut bool) {
        if self.id == 0 {
            return;
        }
        *ran = true;
    }

    #[locked("{text}")]
    async fn rebound(&self, mut text: &str) -> R<usize> {
        let longer = format!("{text}{text}");
        text = &longer;
        Ok(text.len())
    }
}

#[tokio::test]
async fn async_trait_methods() {
    on_memory(async |manager| {
        let mut board = Board { id: 1 };
        assert_eq!(board.by_ref("a", (1, 2)).await.unwrap(), "boxed:1:a:2:2");
        assert_eq!(board.by_ref("a", (0, 2)).await.unwrap(), "");
        assert_eq!(board.by_mut(vec![7]).await.unwrap(), "boxed:1:[7]");
        assert_eq!(Board::associated(3).await.unwrap(), "boxed:3");
        assert_eq!(board.with_default(4).await.unwrap(), "default:4");
        assert_eq!(board.rebound("ab").await.unwrap(), 4);
        assert_eq!(board.opaque().await.unwrap(), 99);
        let guard = manager.lock("boxed:2").acquire().await.unwrap();
        assert_eq!(board.opaque().await.unwrap(), 2);
        guard.release().await.unwrap();
        let mut ran = false;
        board.nothing(&mut ran).await;
        assert!(ran);
        let dynamic = Box::new(board);
        assert_eq!(dynamic.by_value(5).await.unwrap(), "boxed:2:5");
    })
    .await;
}

#[async_trait]
trait Game: Sync {
    async fn play(&self, id: u8) -> R<String>;
    async fn watch(&self, id: u8) -> R<String>;
}

struct AuthFirst;
struct AuthLast;

#[auth]
#[async_trait]
impl Game for AuthFirst {
    #[locked("game:{id}", guard = held)]
    async fn play(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("watch:{id}", auth(optional), guard = held)]
    async fn watch(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }
}

#[async_trait]
#[auth]
impl Game for AuthLast {
    #[locked("game:{id}", guard = held)]
    async fn play(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }

    #[auth(optional)]
    #[locked("watch:{id}", guard = held)]
    async fn watch(&self, id: u8) -> R<String> {
        Ok(name_of(held))
    }
}

#[tokio::test]
async fn auth_on_both_sides_of_async_trait() {
    on_memory(async |_| {
        for game in [&AuthFirst as &dyn Game, &AuthLast] {
            assert!(game.play(1).await.unwrap_err().is_unauthenticated());
            assert_eq!(game.watch(1).await.unwrap(), "watch:1");
            let bob = Caller::new("bob");
            assert_eq!(bob.scope(game.play(1)).await.unwrap(), "game:1");
        }
    })
    .await;
}
