// One slab allocation of the calling thread fails, by the injector's fail-nth
// (fault/allocations.c).
#pragma once

#include <cstdint>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "lib/system.h"

namespace at {

// The calling thread's `which`th allocation from its making on fails, 1 and more.
class Starving {
public:
    explicit Starving(std::uint32_t which)
        : nth_(open("/sys/kernel/debug/fail_injector/fail-nth", O_RDWR | O_CLOEXEC)) {
        const std::string text = std::to_string(which);
        placed_ = nth_ && write(nth_.get(), text.data(), text.size()) > 0;
    }
    // False: this kernel cannot be asked to.
    explicit operator bool() const { return placed_; }
    // Has it failed?  From here on none does.
    bool over() const {
        char left[16] = {};
        return read(nth_.get(), left, sizeof left - 1) > 0 && left[0] == '0';
    }

private:
    Fd nth_;
    bool placed_ = false;
};

} // namespace at
