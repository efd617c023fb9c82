// The device's end of the cable: a gadget whose endpoints are files of this process.
//
//   functionfs   configfs gadget, mount, ep0 with descriptors, UDC written   lib/usb/functionfs.cpp
//   gadgetfs     mount, one file for ep0, endpoints set up by hand           lib/usb/gadgetfs.cpp
//
// Endpoint i is a bulk endpoint; even ones are OUT (the host writes, the gadget reads), odd ones
// IN.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "lib/system.h"

namespace at {

constexpr std::uint16_t usb_vendor = 0x1d6b;
constexpr std::uint16_t usb_product = 0x0a10;
constexpr std::uint32_t max_endpoints = 4;

constexpr bool is_out(std::uint32_t endpoint) {
    return endpoint % 2 == 0;
}
// 0x01 0x82 0x03 0x84
constexpr std::uint8_t endpoint_address(std::uint32_t endpoint) {
    return static_cast<std::uint8_t>((endpoint + 1) | (is_out(endpoint) ? 0 : 0x80));
}

class Gadget {
public:
    Gadget(std::string ep0_path, std::uint32_t endpoints);
    virtual ~Gadget() = default;
    virtual const char* driver() const = 0;
    Gadget(const Gadget&) = delete;
    Gadget& operator=(const Gadget&) = delete;
    // Opens ep0, says what the device is, opens the endpoints.  Throws std::runtime_error.
    virtual void open() = 0;
    // Appears on the bus; the endpoints can be used when the host has configured the device.
    virtual void bind() = 0;
    // Leaves the bus: whatever is queued is answered ESHUTDOWN.
    virtual void unbind() = 0;
    // As a pulled cable and its return: the driver stays bound.
    static bool connect(bool on);
    // Descriptor of an endpoint's file; a closed gadget keeps the numbers, of other files.
    int endpoint_fd(std::uint32_t endpoint) const { return files_[endpoint].get(); }
    // A cancelled write may be answered with the bytes that it had moved (inode.c,
    // ep_aio_complete()).
    virtual bool cancelled_with_bytes() const { return false; }
    // Closes every file, ep0 first or last; the numbers of the endpoints' stay taken.
    virtual void close(bool ep0_first) = 0;
    // The word of the device controller, as sysfs names it ("configured"), or "".
    static std::string state();

protected:
    // Gives the endpoint's number to this file; the number of a closed endpoint is the grave's.
    void place(std::uint32_t endpoint, const Fd& opened);
    void bury_endpoints();

    const std::string ep0_path_;
    const std::string folder_;
    const std::uint32_t endpoints_;
    Fd ep0_;

private:
    Fd grave_; // never ready
    std::array<Fd, max_endpoints> files_;
};

// `ep0_path`: where the target's set-up mounted it.  Which of the two it is follows from its name.
std::unique_ptr<Gadget> make_gadget(const std::string& ep0_path, std::uint32_t endpoints);
std::unique_ptr<Gadget> make_functionfs(const std::string& ep0_path, std::uint32_t endpoints);
std::unique_ptr<Gadget> make_gadgetfs(const std::string& ep0_path, std::uint32_t endpoints);

// "dummy_udc.0"; throws when there is no device controller.
std::string udc_name();

} // namespace at
