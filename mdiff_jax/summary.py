"""What training ends with: samples of each user, a sheet beside real windows, and a first honest figure of identity."""
