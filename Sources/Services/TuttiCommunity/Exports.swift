// SPDX-License-Identifier: Apache-2.0

// For showing an invite's link.
@_exported public import struct TuttiQRCode.QRCode
