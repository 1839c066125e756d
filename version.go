package tidewaiter

// Version is the version of the server and of the scan component that it
// carries. The two are released together.
const Version = "0.1.0"
