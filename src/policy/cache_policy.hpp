#pragma once
// What a piece of a cache is worth, and which of two caches gives way to the other.
//
// GreedyDual-Size-Frequency (Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy", HP
// Labs HPL-98-69, 1998) gives a document frequency × cost ÷ size and ages it by what was evicted last. Here the frequency itself
// decays, as in LRFU (Lee et al. 1999): two caches that are aged by their own evictions could not be compared with each other.

#include <cstdint>

namespace tandem::policy {

/// A use is worth half of a new one after so long: a shift of the load shows within minutes (cache_policy_test), a pause of some seconds not.
constexpr std::uint32_t kUseHalfLifeSeconds = 30;

/// Uses, of which older ones count less. Times are seconds of a clock that never goes back.
struct UseCount {
  float uses = 0;  ///< as of `at`
  std::uint32_t at = 0;
};

[[nodiscard]] float UsesAt(const UseCount& count, std::uint32_t now) noexcept;
[[nodiscard]] UseCount WithUses(const UseCount& count, float more, std::uint32_t now) noexcept;

/// What bringing a piece back costs, and what keeping it does.
struct PieceCost {
  float reload_us = 0;      ///< as measured when it was last brought
  std::uint64_t bytes = 1;  ///< greater than 0
};

/// What bringing pieces of a kind back costs of late, after one more has taken `us`; 0: nothing is known. One that others kept from
/// the processor for a while, a thousand times as long as it takes, tells nothing of the next.
[[nodiscard]] float WithCost(float average_us, float us) noexcept;

/// Microseconds a byte saves: frequency × recency × cost to bring back ÷ size.
[[nodiscard]] double UtilityOf(const UseCount& count, const PieceCost& cost, std::uint32_t now) noexcept;

/// What is read of a graph: by one search, or by some.
struct GraphReads {
  float codes = 0;  ///< that were compared
  float lists = 0;  ///< of links, that were followed
};

/// Before anything was counted: a plain walk at the usual ef_search.
constexpr GraphReads kUsualReads = {1000, 50};

/// What a search reads of late, after `uses` more have read `sum` together.
[[nodiscard]] GraphReads WithReads(const GraphReads& of_search, const GraphReads& sum, float uses) noexcept;

/// What of `uses` of a graph by searches falls to one of so many chunks, of which each search makes `reads` reads: here and there, at
/// most the whole chunk.
[[nodiscard]] float UsesOfChunk(float uses, std::uint32_t chunks, float reads) noexcept;

/// True if a chunk of codes is worth much more than one of links: none of the latter is kept instead.
[[nodiscard]] bool AreCodesWorthMore(const GraphReads& of_search, std::uint32_t code_chunks,
                                     std::uint32_t link_chunks) noexcept;

/// Uses of a graph are so many that a second tells how many there are now. Counted by seconds besides, they show within two of them when a
/// load has gone, or is a hundredth of what it was; see UsesNow().
struct RecentUses {
  float uses = 0;    ///< in the second `at`
  float before = 0;  ///< in the one before it
  std::uint32_t at = 0;
};

[[nodiscard]] RecentUses WithRecentUses(const RecentUses& recent, float more, std::uint32_t now) noexcept;
/// What the last whole second had, or this one if it has more already. Of what is idle, less and less.
[[nodiscard]] float UsesASecond(const RecentUses& recent, std::uint32_t now) noexcept;

/// The lesser of the two counts, as if there always had been as many as now.
[[nodiscard]] float UsesNow(const UseCount& count, const RecentUses& recent, std::uint32_t now) noexcept;

/// What there still is of a use that all pieces of a cache share, 0 to 1: little, soon after a load that had it has gone. A set of a
/// filter that was asked for ten seconds ago may be asked for in the next ten; not where nobody asks for any of them.
[[nodiscard]] float PartLeft(const UseCount& count, const RecentUses& recent, std::uint32_t now) noexcept;

/// True if next to nothing is left of what was counted: whatever comes now begins anew.
[[nodiscard]] bool IsForgotten(const UseCount& count, std::uint32_t now) noexcept;

/// As if what was first used at `since` always had been used as often: for a half-life after that its uses have been counted for too
/// short a time to be compared with those of another. What was used once may have been for the last time, and counts as that.
[[nodiscard]] UseCount AsAlways(const UseCount& count, std::uint32_t since, std::uint32_t now) noexcept;

// ---- Two caches ----

enum class CacheSide : std::uint8_t { kGraph, kFilter };

/// How the memory is shared out. coordinated: one takes what the other does not need; independent: each keeps its target. lru: what was
/// used last stays, wherever it is; only to be compared with.
enum class BudgetMode : std::uint8_t { kCoordinated, kIndependent, kLru };

/// What decides who gives way in a mode: the utility, of as many uses as there can be of what was not used for so long; or how long ago
/// the last use was.
[[nodiscard]] double WorthOf(BudgetMode mode, const UseCount& count, const PieceCost& cost,
                             std::uint32_t now) noexcept;

/// True if a piece may take the place of `victim`, by what they are worth. TinyLFU's argument (Einziger, Friedman and Manes, "TinyLFU: A
/// Highly Efficient Cache Admission Policy", ACM Transactions on Storage 13, 2017): who gives way may be chosen well, and still be worth
/// more than what comes, of which is known how often it was asked for before. At equal worth nothing is gained by the exchange. By age
/// alone, what is new always comes in.
[[nodiscard]] bool IsAdmitted(BudgetMode mode, double newcomer, double victim) noexcept;

/// One of the caches, in frames.
struct CacheShare {
  std::uint64_t frames = 0;
  std::uint64_t target = 0;
  std::uint64_t floor = 0;   ///< never taken away
  double least_utility = 0;  ///< of what it would give up first
};

/// How many frames one side may have in all. Sets of filters that are in use cannot be taken back, so the floor of graphs is kept free.
[[nodiscard]] std::uint64_t MostFrames(BudgetMode mode, CacheSide side, const CacheShare& graph,
                                       const CacheShare& filter) noexcept;

/// Who gives memory up for `requester` when none is free: the other cache, or it itself. The one that is below its target takes from
/// the one above; but three quarters of a target are lent to what is worth far more than what its owner would give up, and all of it where
/// that is worth next to nothing.
[[nodiscard]] bool TakesFromOther(BudgetMode mode, const CacheShare& own, const CacheShare& other) noexcept;

}  // namespace tandem::policy
