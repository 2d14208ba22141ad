#pragma once
// Which frames are free, which wait for readers to leave, and whose the others are. Under its owner's lock; includes no server
// header.
//
// Graphs take single frames, the lowest free one; filters take runs of neighbouring frames, as high as there is room. So each
// has one end of the memory, and a run is found where the two meet.

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace tandem::shmem {

constexpr std::uint32_t kNoFrame = ~std::uint32_t{0};

/// Which chunk is in a frame; kNobody: none that could be moved.
struct FrameOwner {
  static constexpr std::uint32_t kNobody = ~std::uint32_t{0};
  std::uint32_t slot = kNobody;  ///< of the chunk directory
  std::uint32_t chunk = 0;
};

class FrameLists {
 public:
  struct Link {
    std::uint64_t stamp;  ///< Epochs::Stamp() of a retired frame
    FrameOwner owner;     ///< guarded by the chunk directory's lock
    std::uint32_t next;   ///< in the list of retired frames
  };

  struct Shared {
    std::uint32_t frames;
    std::uint32_t free;
    std::uint32_t filter;  ///< taken as runs
    std::uint32_t first_retired;
    std::uint32_t last_retired;
    std::uint32_t retired;
    std::uint32_t lowest_word;  ///< of the map of free frames: none before it has any
    std::uint32_t movable_end;  ///< where FindMovableRun() looks next; guarded by the chunk directory's lock
  };

  /// Of the map of free frames, a bit each.
  [[nodiscard]] static constexpr std::uint32_t MapWords(std::uint32_t frames) {
    return (frames + kBits - 1) / kBits;
  }

  FrameLists() = default;
  FrameLists(Shared* shared, Link* links, std::uint64_t* map) noexcept
      : shared_(shared), links_(links), map_(map) {}

  /// All free.
  void Init(std::uint32_t frames) const noexcept {
    *shared_ = {frames, frames, 0, kNoFrame, kNoFrame, 0, 0, frames};
    for (std::uint32_t frame = 0; frame < frames; frame++) links_[frame] = {0, {}, kNoFrame};
    std::memset(map_, 0, MapWords(frames) * sizeof *map_);
    for (std::uint32_t frame = 0; frame < frames; frame++) map_[frame / kBits] |= Bit(frame);
  }

  [[nodiscard]] const Shared& Status() const noexcept { return *shared_; }

  /// kNoFrame if none is free.
  [[nodiscard]] std::uint32_t Take() const noexcept {
    if (shared_->free == 0) return kNoFrame;
    std::uint32_t& word = shared_->lowest_word;
    while (map_[word] == 0) word++;
    const std::uint32_t frame = word * kBits + static_cast<std::uint32_t>(__builtin_ctzll(map_[word]));
    MarkTaken(frame);
    return frame;
  }

  /// A frame that nobody else can have seen.
  void GiveBack(std::uint32_t frame) const noexcept {
    map_[frame / kBits] |= Bit(frame);
    shared_->free++;
    if (frame / kBits < shared_->lowest_word) shared_->lowest_word = frame / kBits;
  }

  /// The first of `count` neighbouring frames; kNoFrame if there are not as many. Theirs who pin what they read: no epochs.
  [[nodiscard]] std::uint32_t TakeRun(std::uint32_t count) const noexcept {
    if (shared_->free < count) return kNoFrame;
    const std::uint32_t first = HighestRun(
        0, shared_->frames, count, [this](std::uint32_t word) { return map_[word] != 0; },
        [this](std::uint32_t frame) { return IsFree(frame); });
    if (first == kNoFrame) return kNoFrame;
    for (std::uint32_t i = 0; i < count; i++) MarkTaken(first + i);
    shared_->filter += count;
    return first;
  }

  void GiveRunBack(std::uint32_t first, std::uint32_t count) const noexcept {
    for (std::uint32_t i = 0; i < count; i++) GiveBack(first + i);
    shared_->filter -= count;
  }

  /// So many frames are looked at by one call, 4 GB; the next one goes on below them.
  static constexpr std::uint32_t kMostLookedAt = std::uint32_t{1} << 16;

  /// The first of `count` neighbouring frames that are free or hold a chunk that can be moved; kNoFrame if there are none where it looks.
  [[nodiscard]] std::uint32_t FindMovableRun(std::uint32_t count) const noexcept {
    const std::uint32_t end = shared_->movable_end;
    const std::uint32_t begin = end - std::min(end, std::max(count, kMostLookedAt));
    const std::uint32_t first = HighestRun(
        begin, end, count, [](std::uint32_t) { return true; },
        [this](std::uint32_t frame) {
          return IsFree(frame) || links_[frame].owner.slot != FrameOwner::kNobody;
        });
    // A run may begin below and end here.
    if (first == kNoFrame)
      shared_->movable_end = begin == 0 ? shared_->frames : begin + std::min(count, end - begin) - 1;
    return first;
  }

  void SetOwner(std::uint32_t frame, const FrameOwner& owner) const noexcept { links_[frame].owner = owner; }
  [[nodiscard]] FrameOwner OwnerOf(std::uint32_t frame) const noexcept { return links_[frame].owner; }

  /// Stamps must not fall from call to call.
  void Retire(std::uint32_t frame, std::uint64_t stamp) const noexcept {
    links_[frame].stamp = stamp;
    links_[frame].next = kNoFrame;
    if (shared_->retired == 0)
      shared_->first_retired = frame;
    else
      links_[shared_->last_retired].next = frame;
    shared_->last_retired = frame;
    shared_->retired++;
  }

  /// Frees the retired frames whose stamps are less than `oldest_inside`.
  void Reclaim(std::uint64_t oldest_inside) const noexcept {
    while (shared_->retired > 0 && links_[shared_->first_retired].stamp < oldest_inside) {
      const std::uint32_t frame = shared_->first_retired;
      shared_->first_retired = links_[frame].next;
      shared_->retired--;
      GiveBack(frame);
    }
  }

 private:
  static constexpr std::uint32_t kBits = 64;

  [[nodiscard]] static std::uint64_t Bit(std::uint32_t frame) noexcept {
    return std::uint64_t{1} << frame % kBits;
  }
  [[nodiscard]] bool IsFree(std::uint32_t frame) const noexcept {
    return (map_[frame / kBits] & Bit(frame)) != 0;
  }
  void MarkTaken(std::uint32_t frame) const noexcept {
    map_[frame / kBits] &= ~Bit(frame);
    shared_->free--;
  }

  /// In frames [begin, end). may_fit: of a word of the map, false if none of its frames fits.
  template <typename WordPredicate, typename FramePredicate>
  [[nodiscard]] std::uint32_t HighestRun(std::uint32_t begin, std::uint32_t end, std::uint32_t count,
                                         WordPredicate may_fit, FramePredicate fits) const noexcept {
    std::uint32_t length = 0;
    for (std::uint32_t frame = end; frame-- > begin;) {
      if (frame % kBits == kBits - 1 && !may_fit(frame / kBits)) {
        length = 0;
        frame -= kBits - 1;
        continue;
      }
      length = fits(frame) ? length + 1 : 0;
      if (length == count) return frame;
    }
    return kNoFrame;
  }

  Shared* shared_ = nullptr;
  Link* links_ = nullptr;
  std::uint64_t* map_ = nullptr;
};

}  // namespace tandem::shmem
