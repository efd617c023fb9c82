// What the files of the gadget race share beside its class.
#pragma once

#include <atomic>
#include <vector>

#include "lib/usb/gadget_race.h"

namespace at {

// One of the host's transfers.  `pending` is the host thread's; others read it to choose one that
// they discard, and usbfs answers EINVAL when it has ended meanwhile.
struct GadgetRace::HostUrb {
    std::uint32_t endpoint = 0;
    std::atomic<bool> pending{false};
    std::vector<std::byte> bytes;
    usbdevfs_urb urb; // last: it has a flexible array for isochronous packets
};

constexpr std::uint32_t urbs_per_endpoint = 4;

} // namespace at
