#include "lib/usb/host_device.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include <fcntl.h>
#include <linux/usb/ch9.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace at {

namespace {

constexpr std::uint32_t control_timeout_ms = 200;

// A file of sysfs as a number, or -1.
long number_in(const std::filesystem::path& path, int base) {
    const auto text = read_file(path.string());
    if (!text || text->empty())
        return -1;
    return std::strtol(text->c_str(), nullptr, base);
}

// Path of the configured device's node, or "".
std::string node_of_gadget() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/usb/devices", error)) {
        const auto& path = entry.path();
        if (number_in(path / "idVendor", 16) != usb_vendor ||
            number_in(path / "idProduct", 16) != usb_product ||
            number_in(path / "bConfigurationValue", 10) != 1)
            continue;
        char node[64];
        std::snprintf(node, sizeof node, "/dev/bus/usb/%03ld/%03ld", number_in(path / "busnum", 10),
                      number_in(path / "devnum", 10));
        return node;
    }
    return "";
}

// Addresses of the endpoints, in the order of the interface's descriptors; usbfs gives them all to
// read(2), the device's first.
std::array<std::uint8_t, max_endpoints> addresses_of(int file) {
    std::array<std::uint8_t, max_endpoints> addresses{};
    std::uint8_t bytes[1024];
    const ssize_t got = read(file, bytes, sizeof bytes);
    std::size_t found = 0;
    for (ssize_t at = 0; at + 2 < got && bytes[at] && found < addresses.size(); at += bytes[at])
        if (bytes[at + 1] == USB_DT_ENDPOINT)
            addresses[found++] = bytes[at + 2];
    return addresses;
}

int answer_of(int got) {
    return got < 0 ? -errno : 0;
}

} // namespace

bool HostDevice::open_if_there() {
    const std::string node = node_of_gadget();
    if (node.empty())
        return false;
    Fd opened(::open(node.c_str(), O_RDWR | O_CLOEXEC));
    unsigned interface = 0;
    if (!opened || ioctl(opened.get(), USBDEVFS_CLAIMINTERFACE, &interface) < 0)
        return false;
    const std::unique_lock lock(mutex_);
    addresses_ = addresses_of(opened.get());
    file_ = std::move(opened);
    return true;
}

void HostDevice::close() {
    const std::unique_lock lock(mutex_);
    file_ = Fd();
}

int HostDevice::submit(usbdevfs_urb& urb) const {
    return answer_of(ioctl(file_.get(), USBDEVFS_SUBMITURB, &urb));
}

usbdevfs_urb* HostDevice::reap(bool& gone) const {
    void* reaped = nullptr;
    if (ioctl(file_.get(), USBDEVFS_REAPURBNDELAY, &reaped) == 0)
        return static_cast<usbdevfs_urb*>(reaped);
    gone = errno == ENODEV;
    return nullptr;
}

void HostDevice::until_reapable(int timeout_ms) const {
    pollfd polled{file_.get(), POLLOUT, 0};
    ::poll(&polled, 1, timeout_ms);
}

int HostDevice::Borrowed::discard(usbdevfs_urb& urb) const {
    return answer_of(ioctl(file_, USBDEVFS_DISCARDURB, &urb));
}

int HostDevice::Borrowed::clear_halt(std::uint32_t endpoint) const {
    unsigned address = device_.address(endpoint);
    return answer_of(ioctl(file_, USBDEVFS_CLEAR_HALT, &address));
}

int HostDevice::Borrowed::set_halt(std::uint32_t endpoint) const {
    usbdevfs_ctrltransfer transfer{};
    transfer.bRequestType = USB_DIR_OUT | USB_RECIP_ENDPOINT;
    transfer.bRequest = USB_REQ_SET_FEATURE;
    transfer.wValue = USB_ENDPOINT_HALT;
    transfer.wIndex = device_.address(endpoint);
    transfer.timeout = control_timeout_ms;
    return answer_of(ioctl(file_, USBDEVFS_CONTROL, &transfer));
}

int HostDevice::Borrowed::reset() const {
    return answer_of(ioctl(file_, USBDEVFS_RESET, nullptr));
}

int HostDevice::Borrowed::set_configuration(int value) const {
    unsigned wanted = static_cast<unsigned>(value);
    return answer_of(ioctl(file_, USBDEVFS_SETCONFIGURATION, &wanted));
}

} // namespace at
