"""What a person types: `branchmerge run | validate | plan | status | logs | report | suspend | resume`."""
