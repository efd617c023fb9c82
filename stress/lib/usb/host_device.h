// The host's end of the cable: a device as usbfs shows it (drivers/usb/core/devio.c).
//
// One thread owns a HostDevice: it alone opens, submits, reaps and closes.  Others may discard,
// halt and reset at any time (`Borrowed`): the file stays open while they do.
#pragma once

#include <array>
#include <cstdint>
#include <shared_mutex>
#include <string>

#include <linux/usbdevice_fs.h>

#include "lib/system.h"
#include "lib/usb/gadget.h"

namespace at {

class HostDevice {
public:
    // Looks for the device on the bus; opens it and claims its interface when it is configured.
    // False: not there yet.
    bool open_if_there();
    bool is_open() const { return static_cast<bool>(file_); }
    void close();
    // As the host sees it: the gadget's controller deals addresses out as it likes.
    std::uint8_t address(std::uint32_t endpoint) const { return addresses_[endpoint]; }

    // 0, or -errno.
    int submit(usbdevfs_urb& urb) const;
    // An URB that has ended; nullptr: none has.  `gone`: the device is not there any more.
    usbdevfs_urb* reap(bool& gone) const;
    // Until an URB has ended, or the time is over.
    void until_reapable(int timeout_ms) const;

    // For other threads.
    class Borrowed {
    public:
        explicit Borrowed(HostDevice& device)
            : lock_(device.mutex_), device_(device), file_(device.file_.get()) {}
        explicit operator bool() const { return file_ >= 0; }
        int discard(usbdevfs_urb& urb) const;
        int clear_halt(std::uint32_t endpoint) const;
        int set_halt(std::uint32_t endpoint) const; // SET_FEATURE: the device answers STALL
        int reset() const;                          // the port; endpoints are disabled meanwhile
        int set_configuration(int value) const;

    private:
        std::shared_lock<std::shared_mutex> lock_;
        const HostDevice& device_;
        int file_;
    };

private:
    std::shared_mutex mutex_;
    Fd file_;
    std::array<std::uint8_t, max_endpoints> addresses_{};
};

} // namespace at
