# No such user on this host.
job "unknown_user" {
  type = "batch"

  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "task" {
      driver = "trio"
      user = "alice-is-not-here"
      config {
        command = "/bin/true"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
