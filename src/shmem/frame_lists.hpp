#pragma once
// Which frames are free, and which wait for readers to leave. Under its owner's lock; includes no server header.

#include <cstdint>

namespace tandem::shmem {

constexpr std::uint32_t kNoFrame = ~std::uint32_t{0};

class FrameLists {
 public:
  struct Link {
    std::uint64_t stamp;  ///< Epochs::Stamp() of a retired frame
    std::uint32_t next;   ///< in the list that the frame is in
  };

  struct Shared {
    std::uint32_t frames;
    std::uint32_t untouched;  ///< frames from here on were never used, and have no link yet
    std::uint32_t first_free;
    std::uint32_t free;  ///< untouched ones included
    std::uint32_t first_retired;
    std::uint32_t last_retired;
    std::uint32_t retired;
  };

  FrameLists() = default;
  FrameLists(Shared* shared, Link* links) noexcept : shared_(shared), links_(links) {}

  /// All free. Touches no link: a large pool takes no memory before it is used.
  void Init(std::uint32_t frames) const noexcept {
    *shared_ = {frames, 0, kNoFrame, frames, kNoFrame, kNoFrame, 0};
  }

  [[nodiscard]] const Shared& Status() const noexcept { return *shared_; }

  /// kNoFrame if none is free.
  [[nodiscard]] std::uint32_t Take() const noexcept {
    if (shared_->free == 0) return kNoFrame;
    shared_->free--;
    const std::uint32_t frame = shared_->first_free;
    if (frame == kNoFrame) return shared_->untouched++;
    shared_->first_free = links_[frame].next;
    return frame;
  }

  /// A frame that nobody else can have seen.
  void GiveBack(std::uint32_t frame) const noexcept {
    links_[frame].next = shared_->first_free;
    shared_->first_free = frame;
    shared_->free++;
  }

  /// Stamps must not fall from call to call.
  void Retire(std::uint32_t frame, std::uint64_t stamp) const noexcept {
    links_[frame] = {stamp, kNoFrame};
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
  Shared* shared_ = nullptr;
  Link* links_ = nullptr;
};

}  // namespace tandem::shmem
