# Writes 20000 numbered lines to each stream as fast as it can, and ends.
job "many_lines" {
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
      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          seq -f 'out %05.0f' 20000 & seq -f 'err %05.0f' 20000 >&2
          wait
        EOT
        ]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
