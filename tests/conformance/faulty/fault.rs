//! The faults, one for each way to break a promise.

/// What is wrong with a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing: what fails here is a fault of the wrapper.
    None,
    // Exclusion and leases.
    BelievesTheContendersClock,
    ContenderDecidesTheLease,
    ExpiresEarly,
    ForgetsToExpire,
    GrantsTwice,
    HandsOverForLess,
    AnswersAgainAnew,
    RenewalDoesNothing,
    // Tokens.
    NoTokens,
    NewTokenByAdoption,
    RepeatsTokens,
    TokensForAll,
    TokensOfTheirOwnName,
    // Connections and restarts.
    ForgetsWhenCut,
    ForgetsWhenStarted,
    // Owners.
    AdoptsForAnybody,
    ForcedOutComesBack,
    ForceReleaseDoesNothing,
    ReleasesForAnybody,
    RenewsForAnybody,
    // Names.
    FoldsCase,
    IgnoresNamespaces,
    MatchesPrefixes,
    // Ways out.
    LeaksCancelled,
    ReleaseDoesNothing,
    // Waiting.
    GivesUpEarly,
    LastComeFirstServed,
    LosesWakeUps,
    NeverGivesUp,
    // Modes.
    HidesConflicts,
    OneLeaseForAllReaders,
    OneReaderReleasesAll,
    SharedExcludes,
    // `at_least`.
    IgnoresAtLeast,
    RestsWithoutABody,
    // Looking.
    CountsNobodyWaiting,
    ListsEverything,
    NeverLooksFree,
    ListsInReverse,
    ShowsAnotherOwner,
    ShowsNothing,
    // Callers.
    AssignmentsEnd,
    AssignmentsNeverEnd,
    AssignsToAnybody,
    KeepsAssignments,
    LetsAnybodyIn,
    QueuesStrangers,
    RefusesOperators,
    TransferEndsTheTurn,
    TransfersForAnybody,
    UnassignsForAnybody,
    WantsAHolder,
}
