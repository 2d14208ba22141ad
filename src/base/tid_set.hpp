#pragma once
// A set of heap TIDs, as a bitmap of the server's hands them over: exact ones, and blocks of which nothing more is known.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.hpp"
#include "base/span.hpp"

namespace tandem::base {

/// TIDs that a filter admits. Filled once in ascending order, then read: Freeze() separates the two.
///
/// Two bytes a TID and eight a block: the blocks in one array, the offsets of all of them in another (the array form of
/// Roaring's containers, Chambi, Lemire, Kaser and Godin 2016, with a heap block for a container: a block has so few tuples
/// that a bitmap of them would seldom be smaller). Owns its memory: in a backend it must be owned by a memory context
/// (pg/own.hpp), and filled inside of pg::Guard(). Frozen it is immutable, and may be read by several at once.
class TidSet {
 public:
  /// What the set says of a block.
  struct Block {
    std::uint32_t number;
    std::uint32_t first;  ///< of its offsets
  };

  /// Blocks ascend, and the offsets within a block; a TID that is there already is ignored. Throws std::bad_alloc.
  void AddTid(HeapTid tid);
  /// Adds TIDs in any order to a set that has none yet: their HeapTid::Key(). `keys` are overwritten, as is `scratch`, which has room for
  /// as many. Throws std::bad_alloc.
  void AddKeys(std::uint64_t* keys, std::size_t count, std::uint64_t* scratch);
  /// Any tuple of the block may be one. Takes the place of TIDs of that block added before, and of those added after.
  void AddWholeBlock(std::uint32_t number);
  /// No more will be added. Throws std::bad_alloc.
  void Freeze();

  [[nodiscard]] bool Contains(HeapTid tid) const noexcept;

  /// Exact TIDs; blocks of which nothing more is known do not count.
  [[nodiscard]] std::size_t size() const noexcept { return offsets_.size(); }
  [[nodiscard]] std::size_t whole_blocks() const noexcept { return whole_blocks_; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0 && whole_blocks_ == 0; }
  [[nodiscard]] std::size_t MemoryBytes() const noexcept {
    return blocks_.capacity() * sizeof(Block) + offsets_.capacity() * sizeof(std::uint16_t);
  }

 private:
  friend class TidFinder;

  [[nodiscard]] bool HasOffset(std::size_t block, std::uint16_t offset) const noexcept;

  std::vector<Block>
      blocks_;  ///< one without offsets is whole; frozen: behind the last one a Block that ends it
  std::vector<std::uint16_t> offsets_;
  std::size_t whole_blocks_ = 0;
};

/// Asks a frozen set about TIDs that mostly ascend, and walks its blocks beside another ascending list: each question begins
/// where the last one ended, and gallops (Bentley and Yao 1976). Plain data; the set must outlive it.
class TidFinder {
 public:
  explicit TidFinder(const TidSet* set) noexcept : set_(set) {}

  [[nodiscard]] bool Contains(HeapTid tid) noexcept;

  /// Moves on to the set's first block that is at least `number`. False if there is none.
  [[nodiscard]] bool SeekBlock(std::uint32_t number) noexcept;
  /// The block found: of TIDs of that block tells which are in the set.
  [[nodiscard]] std::uint32_t block() const noexcept { return set_->blocks_[at_].number; }
  /// How many of the set's blocks come before it.
  [[nodiscard]] std::size_t place() const noexcept { return at_; }
  /// So many blocks behind that; the largest number if there are no more.
  [[nodiscard]] std::uint32_t BlockAhead(std::size_t count) const noexcept {
    return set_->blocks_[std::min(at_ + count, set_->blocks_.size() - 1)].number;
  }
  [[nodiscard]] bool BlockHas(std::uint16_t offset) const noexcept { return set_->HasOffset(at_, offset); }
  /// The offsets in the set, ascending; none: the block is whole.
  [[nodiscard]] Span<const std::uint16_t> Offsets() const noexcept {
    const std::size_t first = set_->blocks_[at_].first;
    return {set_->offsets_.data() + first, set_->blocks_[at_ + 1].first - first};
  }

 private:
  const TidSet* set_;
  std::size_t at_ = 0;
};

}  // namespace tandem::base
